"""No feature row visible by T moves when everything not known at T is rewritten."""

import shutil
import tomllib
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pytest

from knownat.stores.pipelines import BuiltTable, build_features

T = "TIMESTAMPTZ '2013-07-01 17:30:00Z'"

# One table of each kind of SQL; a window table stands for all of its shape.
FEATURES = ["origin_hour", "origin_overdue", "dest_arrivals", "tail_leg", "weather_report", "weather_windows"]


@pytest.fixture(scope="module")
def small_repo(repo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the repo that builds only some of its features."""
    copy = tmp_path_factory.mktemp("repo") / "feature_repo"
    shutil.copytree(repo / "pipelines", copy / "pipelines")
    declared = copy / "pipelines" / "pipelines.toml"
    head, *features = declared.read_text().split("[[feature]]")
    kept = [text for text in features if tomllib.loads(text)["name"] in FEATURES]
    declared.write_text("[[feature]]".join([head, *kept]))
    return copy


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
    assert [table.name for table in rewritten] == FEATURES
    for table in rewritten:
        visible = f"greatest(event_timestamp, created_timestamp) <= {T}"
        before, after = (
            f"(FROM read_parquet('{path}') WHERE {visible})" for path in (tables[table.name].path, table.path)
        )
        moved = duckdb.sql(f"({before} EXCEPT ALL {after}) UNION ALL ({after} EXCEPT ALL {before})")
        assert moved.fetchall() == [], table.name
        # The rewriting did reach the features, or the law would hold for nothing.
        assert table.sha256 != tables[table.name].sha256, table.name


def test_building_again_elsewhere_gives_the_same_bytes(
    small_repo: Path, tables: dict[str, BuiltTable], tmp_path: Path
) -> None:
    again = build_features(small_repo, output=tmp_path)
    assert {t.name: t.sha256 for t in again} == {name: tables[name].sha256 for name in FEATURES}
