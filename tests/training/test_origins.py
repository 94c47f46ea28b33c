"""What a release is written down to be made from: its definitions, its events, the tables nobody builds."""

from datetime import timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import training.origins as origins
from knownat.contract.model_spec import read_spec
from knownat.stores.outlines import Outline, ServiceOutline, ViewOutline
from knownat.stores.pipelines import build_features
from tests.training.histories import CUTOFF, write_history
from training.origins import read_origins

MOMENT = pa.timestamp("us", tz="UTC")
HOUR = timedelta(hours=1)


def view(name, path, **source):
    times = {"time": "event_timestamp", "known": "created_timestamp", **source}
    return ViewOutline(name=name, kind="feature view", fields={}, source={"path": path, **times})


@pytest.fixture
def workspace(tmp_path, monkeypatch):
    """Visits whose service reads a built table, an added one, and some that are not in ``data``."""
    made = write_history(tmp_path, seed=3)
    build_features(made.repo)
    views = [
        view("honest", "data/honest.parquet"),
        view("spend", "data/spend.parquet"),
        view("lost", "data/lost.parquet"),
        view("elsewhere", "elsewhere/spend_too.parquet"),
        view("unread", "data/unread.parquet"),
    ]
    read = frozenset({"honest", "spend", "lost", "elsewhere"})
    service = ServiceOutline(name="outcome", columns=(), views=read)
    world = Outline({each.name: each for each in views}, {"outcome": service})
    monkeypatch.setattr(origins, "open_repo", lambda path: path)
    monkeypatch.setattr(origins, "outline", lambda repo: world)
    write_spend(made)
    (made.repo / "elsewhere").mkdir()
    for name in ("elsewhere/spend_too.parquet", "data/unread.parquet"):
        pq.write_table(pq.read_table(made.data / "spend.parquet"), made.repo / name)
    return made


def write_spend(
    workspace, *, hours=((-5, -5), (-5, 0), (0, 1), (2, -5)), sizes=([1.5], None, [], [2.5, 3.5])
):
    """Write rows by the hours after the cutoff at which each happened and became known."""
    event, known = zip(*hours, strict=True)
    table = pa.table(
        {
            "event_timestamp": pa.array([CUTOFF + HOUR * h for h in event], MOMENT),
            "created_timestamp": pa.array([CUTOFF + HOUR * h for h in known], MOMENT),
            "sizes": pa.array(sizes, pa.list_(pa.float64())),
        }
    )
    pq.write_table(table, workspace.data / "spend.parquet")


def read(workspace):
    return read_origins(workspace, read_spec(workspace.model_file("outcome")))


def test_a_table_that_nobody_builds_is_parted_by_what_was_known_at_the_cutoff(workspace):
    found = read(workspace).tables
    assert list(found) == ["spend"]
    # What became known at the very cutoff was known; what is yet to happen was not.
    assert (found["spend"].known.rows, found["spend"].later.rows) == (2, 2)


def test_a_list_that_changed_is_another_row(workspace):
    before = read(workspace)
    assert read(workspace) == before
    write_spend(workspace, sizes=([1.25], None, [], [2.5, 3.5]))
    after = read(workspace)
    assert after.tables["spend"].known != before.tables["spend"].known
    assert after.tables["spend"].later == before.tables["spend"].later
    assert after.events == before.events


def test_only_what_says_what_a_value_is_belongs_to_the_definitions(workspace):
    files = {
        "views.py": "",
        "team/views.py": "",
        "models/other.toml": "",
        "models/other.sql": "",
        "models/other.py": "",
        "models/regret.py": "def regret(labels, scores): return 0.0\n",
        "pipelines/__pycache__/x.pyc": "",
        "notes.md": "",
    }
    for name, text in files.items():
        path = workspace.repo / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    declared = workspace.model_file("outcome")
    metric = '\n[[custom_metrics]]\nname = "regret"\nfunction = "regret.py:regret"\ndirection = "lower"\n'
    declared.write_text(declared.read_text() + metric)
    pipelines = {f"pipelines/{path.name}" for path in (workspace.repo / "pipelines").glob("*.*")}
    assert set(read(workspace).definitions) == {
        "views.py",
        "team/views.py",
        "models/outcome.toml",
        "models/outcome.sql",
        "models/regret.py",
        *pipelines,
    }
