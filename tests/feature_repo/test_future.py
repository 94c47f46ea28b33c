"""No feature row visible by T moves when everything not known at T is rewritten."""

import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

from knownat.contract.workspace import Workspace
from knownat.stores.pipeline_spec import read_pipelines
from knownat.stores.pipelines import BuiltTable, build_features
from tests.soak import SOAKING
from training.variant import lay_out_variant, read_variant

T = "TIMESTAMPTZ '2013-07-01 17:30:00Z'"

# One table of each kind of SQL; a window table stands for all of its shape.
FEW = ["origin_hour", "origin_overdue", "dest_arrivals", "tail_leg", "weather_report", "weather_windows"]


@pytest.fixture(scope="module")
def small_repo(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repo that builds only some of its features, but for a soak."""
    copy = tmp_path_factory.mktemp("repo") / "feature_repo"
    shutil.copytree(repo / "pipelines", copy / "pipelines")
    if not SOAKING:
        keep_only(copy, FEW)
    return copy


def keep_only(repo: Path, names: Sequence[str]) -> None:
    declared = repo / "pipelines" / "pipelines.toml"
    head, *features = declared.read_text().split("[[feature]]")
    kept = [text for text in features if tomllib.loads(text)["name"] in names]
    declared.write_text("[[feature]]".join([head, *kept]))


def count_moved(before: Path, after: Path) -> int:
    """Count the rows visible by T that only one of two tables holds."""
    visible = f"greatest(event_timestamp, created_timestamp) <= {T}"
    was, now = (f"(FROM read_parquet('{path}') WHERE {visible})" for path in (before, after))
    return len(duckdb.sql(f"({was} EXCEPT ALL {now}) UNION ALL ({now} EXCEPT ALL {was})").fetchall())


def rewrite_the_unknown(connection: duckdb.DuckDBPyConnection, events: Sequence[str]) -> None:
    for name in events:
        connection.execute(f"DELETE FROM {name} WHERE known_at > {T} AND hash(known_at) % 3 = 0")
        connection.execute(f"UPDATE {name} SET known_at = known_at + INTERVAL 7 MINUTES WHERE known_at > {T}")
    for name in ("departures", "arrivals"):
        connection.execute(f"UPDATE {name} SET delay_min = delay_min + 1000 WHERE known_at > {T}")
    connection.execute(f"UPDATE weather_reports SET wind_speed_kt = 99 WHERE known_at > {T}")
    connection.execute(f"UPDATE schedules SET tailnum = 'N00000' WHERE known_at > {T}")


def test_rewriting_what_is_not_known_yet_moves_no_visible_row(
    small_repo: Path, tables: dict[str, BuiltTable], tmp_path: Path
) -> None:
    rewritten = build_features(small_repo, output=tmp_path, rewrite=rewrite_the_unknown)
    assert [table.name for table in rewritten] == [table.name for table in read_pipelines(small_repo).feature]
    moved = {table.name: count_moved(tables[table.name].path, table.path) for table in rewritten}
    assert {name: rows for name, rows in moved.items() if rows} == {}
    # The rewriting did reach the features, or the law would hold for nothing; of the register of
    # aircraft all was known from the beginning.
    unreached = {table.name for table in rewritten if table.sha256 == tables[table.name].sha256}
    assert unreached <= {"aircraft"}


def test_building_again_elsewhere_gives_the_same_bytes(
    small_repo: Path, tables: dict[str, BuiltTable], tmp_path: Path
) -> None:
    again = build_features(small_repo, output=tmp_path)
    assert {t.name: t.sha256 for t in again} == {t.name: tables[t.name].sha256 for t in again}


def test_rewriting_moves_visible_rows_of_every_table_that_the_leaking_variant_changes(
    repo: Path, small_repo: Path, tmp_path: Path
) -> None:
    variant = read_variant(repo.parent / "docs" / "leaky")
    leaking = lay_out_variant(Workspace.at(small_repo), variant, tmp_path / "work").repo
    changed = {path.stem for change in variant.change for path in leaking.glob(change.files)}
    assert {"dest_arrivals", "weather_report"} < changed
    keep_only(leaking, sorted(changed) if SOAKING else ["dest_arrivals", "weather_report"])
    before = build_features(leaking)
    after = build_features(leaking, output=tmp_path / "rewritten", rewrite=rewrite_the_unknown)
    for table, rewritten in zip(before, after, strict=True):
        assert count_moved(table.path, rewritten.path) > 0, table.name
