import pytest

from knownat.contract.release import Interval
from monitoring.blame_words import tell
from monitoring.performance import compare
from monitoring.summary import Blame, Culprit, Span
from tests.monitoring.judged import judge
from tests.monitoring.shop_log import make_features, make_labels


@pytest.mark.parametrize(
    ("usual", "told"),
    [
        (None, "AUC is 0.79 (0.78 to 0.8), about the 0.8 of the test."),
        (
            Span(low=0.6, high=0.85),
            "AUC is 0.79 (0.78 to 0.8), and was 0.8 in the test, where windows as long came to 0.6 to 0.85.",
        ),
    ],
)
def test_a_window_that_is_as_usual_is_told_beside_what_is_usual(trained, usual, told):
    features = make_features(1_500, seed=1)
    summary = judge(trained, features, make_labels(features, seed=2))
    window, release = (Interval(value=v, low=v - 0.01, high=v + 0.01, rows=1_500) for v in (0.79, 0.8))
    metric = compare("auc", window, release, allowed=0.05, usual=usual)
    performance = summary.performance.model_copy(update={"metrics": (metric,)})
    blame = Blame(culprit=Culprit.STEADY, text="", metric="auc", fall=0.01)

    text = tell(blame, summary.model_copy(update={"performance": performance}), [])

    assert text == f"{told} Nothing changed: no fault, no drift. Nothing to do."
