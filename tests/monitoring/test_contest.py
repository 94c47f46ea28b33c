"""Champion, challenger and shadow on the same rows: who is better, since when, and not a day too early."""

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from knownat.contract.log_reader import read_labels
from monitoring.contenders import find_contests
from monitoring.contest import CHAMPION, CONTENDER, Contest, judge_contest
from monitoring.rescoring import Rescorer
from monitoring.source import read_evidence
from monitoring.windows import Window
from tests.monitoring.rivals import add_version, as_other, days_of_questions
from tests.monitoring.shop_log import MODEL, START, VERSION
from tests.soak import scale

DAYS, ROWS_A_DAY = 40, 60
END = START + timedelta(days=DAYS)
LAST_DAY = Window(END - timedelta(days=1), END)
MATURED = END + timedelta(hours=48)
DAY = timedelta(days=1)


@pytest.fixture
def rows_and_labels(shop):
    rows, labels = days_of_questions(shop, days=DAYS, rows_a_day=ROWS_A_DAY, seed=31)
    shop.post_labels(rows, labels, after=timedelta(hours=5))
    return rows, labels


def compare(shop, *, now=MATURED, window=LAST_DAY):
    labels = read_labels(shop.workspace.predictions, MODEL)
    spec = shop.release.manifest.spec
    contests = find_contests(shop.workspace, shop.release, window)
    return [judge_contest(spec, contest, labels, now=now) for contest in contests]


def test_a_worse_shadow_is_told_apart_on_the_champions_own_questions(shop, rows_and_labels):
    rows, _ = rows_and_labels
    poor = Rescorer(add_version(shop, "v2", noise=8.0))
    shop.write(rows)
    shop.write(as_other(rows, "v2", "shadow", poor.score(rows), mark="s"), name="s", version="v2")

    (found,) = compare(shop)

    assert (found.champion, found.version, found.role) == (VERSION, "v2", "shadow")
    assert (found.rows, found.blocks, found.block_hours) == (DAYS * ROWS_A_DAY, DAYS, 24)
    assert found.since == START
    assert found.lead.high < 0
    assert (found.decision, found.loss) == ("worse", "log_loss")
    assert found.gain_range.high < 0
    assert START + 20 * DAY <= found.decided_at < END


def test_a_challenger_is_compared_on_its_own_rows_and_the_champions(shop, rows_and_labels):
    # It answered other customers: each of the two is asked for the other's rows.
    rows, _ = rows_and_labels
    poor = Rescorer(add_version(shop, "v2", noise=8.0))
    theirs = np.arange(len(rows)) % 4 == 0
    shop.write(rows.filter(pa.array(~theirs)))
    asked = rows.filter(pa.array(theirs))
    given = as_other(asked, "v2", "challenger", poor.score(asked), mark="c")
    given = given.set_column(0, "prediction_id", asked["prediction_id"])
    shop.write(given, name="c", version="v2")

    (found,) = compare(shop)

    assert (found.role, found.rows, found.note) == ("challenger", DAYS * ROWS_A_DAY, "")
    assert found.decision == "worse"


def test_looking_every_day_changes_no_decision(shop, rows_and_labels):
    rows, _ = rows_and_labels
    poor = Rescorer(add_version(shop, "v2", noise=8.0))
    shop.write(rows)
    shop.write(as_other(rows, "v2", "shadow", poor.score(rows), mark="s"), name="s", version="v2")

    looks = [
        compare(shop, now=START + day * DAY + timedelta(hours=48), window=Window(START, START + day * DAY))[0]
        for day in (10, 19, 25, 30, 40)
    ]

    assert [look.blocks for look in looks] == [10, 19, 25, 30, 40]
    assert [look.decision for look in looks[:2]] == ["undecided", "undecided"]
    assert looks[0].gain_range is None
    decided = {look.decided_at for look in looks if look.decision != "undecided"}
    assert len(decided) == 1


def test_the_same_model_again_is_never_better(shop, rows_and_labels):
    rows, _ = rows_and_labels
    shop.write(rows)
    shop.write(as_other(rows, "v2", "shadow", rows["score"].to_numpy(), mark="s"), name="s", version="v2")

    (found,) = compare(shop)

    assert (found.decision, found.gain) == ("undecided", 0.0)
    assert (found.lead.low, found.lead.high) == (0.0, 0.0)


def test_rows_without_the_others_columns_are_named(shop, rows_and_labels):
    rows, _ = rows_and_labels
    add_version(shop, "v2", noise=8.0)
    shop.write(rows.drop(["profile__city"]))
    asked = rows.slice(0, 400)
    shop.write(
        as_other(asked, "v2", "challenger", asked["score"].to_numpy(), mark="c"), name="c", version="v2"
    )

    (found,) = compare(shop, window=Window(START, END))

    assert "lack 1 columns of v2, such as profile__city" in found.note
    assert "run it as a shadow" in found.note


def test_a_version_without_its_release_is_named(shop, rows_and_labels):
    rows, _ = rows_and_labels
    shop.write(rows)
    shop.write(as_other(rows, "v9", "challenger", rows["score"].to_numpy(), mark="c"), name="c", version="v9")

    (found,) = compare(shop)

    assert (found.rows, found.decision) == (0, "undecided")
    assert "its release cannot be read" in found.note


def test_a_window_has_its_contests(shop, rows_and_labels):
    rows, _ = rows_and_labels
    shop.write(rows)
    shop.write(as_other(rows, "v2", "shadow", rows["score"].to_numpy(), mark="s"), name="s", version="v2")

    assert [c.role for c in read_evidence(shop.workspace, MODEL, LAST_DAY).contests] == ["shadow"]
    before = Window(START - DAY, START)
    assert read_evidence(shop.workspace, MODEL, before).contests == ()


def test_null_keys_pair_too(shop, rows_and_labels):
    rows, _ = rows_and_labels
    keys = pa.array([None if i % 7 == 0 else i for i in range(len(rows))], pa.int64())
    rows = rows.set_column(rows.column_names.index("key__customer_id"), "key__customer_id", keys)
    shop.write(rows)
    shop.write(as_other(rows, "v2", "shadow", rows["score"].to_numpy(), mark="s"), name="s", version="v2")

    (contest,) = find_contests(shop.workspace, shop.release, LAST_DAY)

    assert contest.rows.num_rows == len(rows)


def made_up(random, spec, *, days, edge=0.0):
    """Days on which both versions err together, and each day favours one of them by chance."""
    per_day = 40
    rows = days * per_day
    day = np.repeat(np.arange(days), per_day)
    truth = random.beta(2, 4, rows)
    label = (random.random(rows) < truth).astype(float)
    favour = 0.03 * random.normal(size=days)[day]
    champion = np.clip(truth + 0.1 * random.normal(size=rows) + favour, 0.01, 0.99)
    contender = np.clip(truth + (0.1 - edge) * random.normal(size=rows) - favour, 0.01, 0.99)
    ids = [f"p{i}" for i in range(rows)]
    when = [START + int(d) * DAY + timedelta(minutes=i % per_day) for i, d in enumerate(day)]
    kind = pa.timestamp("us", tz="UTC")
    table = pa.table(
        {
            "prediction_id": ids,
            "event_timestamp": pa.array(when, kind),
            CHAMPION: champion,
            CONTENDER: contender,
        }
    )
    labels = pa.table(
        {
            "prediction_id": ids,
            "label": label,
            "label_timestamp": pa.array(when, kind),
            "logged_at": pa.array(when, kind),
        }
    )
    return judge_contest(spec, Contest("a", "b", "shadow", table), labels, now=START + (days + 3) * DAY)


def test_equals_are_seldom_told_apart_though_looked_at_every_day(trained):
    random, spec, contests = np.random.default_rng(22), trained.release.manifest.spec, scale(20, 400)
    told = sum(made_up(random, spec, days=120).decision != "undecided" for _ in range(contests))

    assert told <= 0.05 * contests


def test_a_better_one_is_found_within_months(trained):
    random, spec, contests = np.random.default_rng(3), trained.release.manifest.spec, scale(5, 100)
    found = [made_up(random, spec, days=120, edge=0.1).decision for _ in range(contests)]

    assert found.count("better") == contests


def test_a_clock_is_all_that_is_waited_for(shop, rows_and_labels):
    rows, _ = rows_and_labels
    shop.write(rows)
    shop.write(as_other(rows, "v2", "shadow", rows["score"].to_numpy(), mark="s"), name="s", version="v2")

    (found,) = compare(shop, now=START + timedelta(hours=47))

    assert (found.rows, found.since, found.decision) == (0, None, "undecided")
