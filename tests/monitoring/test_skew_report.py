from monitoring.causes import Cause
from monitoring.skew_report import SkewReport, column_skew


def column(name, *causes):
    ids = [f"p{i}" for i in range(len(causes))]
    return column_skew(name, causes, ids, [1.5] * len(causes), [None] * len(causes))


def test_causes_are_counted_with_a_few_examples_of_each():
    found = column("a__b", None, *[Cause.LAG] * 5, Cause.MISMATCH)

    assert found.causes == {Cause.LAG: 5, Cause.MISMATCH: 1}
    assert found.values == 6
    assert [(e.prediction_id, e.cause) for e in found.examples] == [
        ("p1", Cause.LAG),
        ("p2", Cause.LAG),
        ("p3", Cause.LAG),
        ("p6", Cause.MISMATCH),
    ]
    assert (found.examples[0].served, found.examples[0].offline) == ("1.5", "no value")
    assert column("a__b", None, None) is None


def test_two_versions_add_up_and_what_is_to_mend_comes_first():
    one = SkewReport(asked=10, rows=5, values=50, columns=(column("lagging", *[Cause.LAG] * 9),))
    two = SkewReport(
        asked=7, rows=7, values=70, columns=(column("lagging", Cause.LAG), column("broken", Cause.DTYPE))
    )

    both = one + two

    assert [c.column for c in both.columns] == ["broken", "lagging"]
    assert both.causes == {Cause.LAG: 10, Cause.DTYPE: 1}
    assert both.unexpected == {Cause.DTYPE: 1}
    assert (both.asked, both.rows, both.values, both.differences, both.exact) == (17, 12, 120, 11, False)
    assert SkewReport.model_validate_json(both.model_dump_json()) == both
