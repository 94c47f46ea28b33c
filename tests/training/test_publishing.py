from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pytest

from knownat.errors import ReleaseError
from tests.scoring.small_release import PLAN, SOURCE, golden_table, manifest
from training.contents import prove_transforms, unlike_in_feast
from training.frame import Joined
from training.publishing import next_version, publish_as


def test_the_next_version_is_after_the_largest_number(tmp_path):
    assert next_version(tmp_path / "nothing yet") == "1"
    for name in ("2", "10", "first", ".11.0a1b2c3d"):
        (tmp_path / name).mkdir()
    assert next_version(tmp_path) == "11"


def build(staged, version):
    (staged / "model.txt").write_text(version)
    return manifest(version)


def test_runs_at_one_time_take_different_numbers(tmp_path):
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: publish_as(tmp_path, None, build), range(12)))
    assert sorted(int(release.manifest.version) for release in made) == list(range(1, 13))
    for release in made:
        assert release.read_bytes("model.txt").decode() == release.manifest.version == release.path.name


def alone(source, table=None):
    """Pair an on-demand body with what Feast is said to have made of it."""
    table = golden_table() if table is None else table
    return Joined(table, table, PLAN, {"transforms/load.py": source}), table


def test_a_body_that_gives_what_feast_gave_is_proven():
    assert unlike_in_feast(*alone(SOURCE)) == []


@pytest.mark.parametrize(
    "source",
    [SOURCE.replace("kg / n if", "(kg + 1) / n if"), SOURCE.replace("if n else None", "if n else 0.0")],
)
def test_a_body_that_gives_something_else_alone_is_refused(source):
    assert source != SOURCE
    assert unlike_in_feast(*alone(source)) == ["load__kg_per_parcel"]
    with pytest.raises(ReleaseError, match="give other values alone than in Feast"):
        prove_transforms(*alone(source))


def test_nan_offline_and_none_online_are_the_same_value():
    table = golden_table()
    made = table["load__kg_per_parcel"].to_pandas()
    at = table.column_names.index("load__kg_per_parcel")
    nan = table.set_column(at, "load__kg_per_parcel", pa.array(made.to_numpy(), from_pandas=False))
    assert (nan["load__kg_per_parcel"].null_count, table["load__kg_per_parcel"].null_count > 0) == (0, True)
    assert unlike_in_feast(*alone(SOURCE, nan)) == []
