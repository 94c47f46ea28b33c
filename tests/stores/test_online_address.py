"""The scorer finds the packed rows of a repo from its settings alone."""

import subprocess
import sys
from pathlib import Path

import pytest

from knownat.errors import ConfigError, StoreUnavailable
from knownat.stores.lmdb_rows import LmdbRows
from knownat.stores.online_address import LmdbAddress, RedisAddress, open_rows, read_address
from knownat.stores.redis_rows import RedisRows


def settings(folder: Path, online: str) -> Path:
    (folder / "feature_store.yaml").write_text(f"project: shop\nregistry: data/registry.db\n{online}")
    return folder


LMDB = "online_store:\n  type: knownat.stores.lmdb_online.LmdbOnlineStore\n"
REDIS = "online_store:\n  type: knownat.stores.redis_online.RedisOnlineStore\n"


def test_a_relative_path_starts_at_the_repo(tmp_path: Path) -> None:
    assert read_address(settings(tmp_path, LMDB)) == LmdbAddress(path=tmp_path / "data/online_rows")
    given = read_address(settings(tmp_path, LMDB + "  path: data/x\n  most_map_bytes: 1073741824\n"))
    assert given == LmdbAddress(path=tmp_path / "data/x", most_map_bytes=1 << 30)
    assert read_address(settings(tmp_path, LMDB + "  path: /x\n")) == LmdbAddress(path=Path("/x"))


def test_redis_is_named_by_its_url_and_its_deadlines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_REDIS", "redis://cache:6380/2")
    found = read_address(
        settings(tmp_path, REDIS + "  connection_string: ${SHOP_REDIS}\n  read_deadline_seconds: 0.05\n")
    )
    assert found == RedisAddress(connection_string="redis://cache:6380/2", read_deadline_seconds=0.05)
    assert read_address(settings(tmp_path, REDIS)) == RedisAddress(connection_string="localhost:6379")


@pytest.mark.parametrize(
    "online", ["", "online_store: redis\n", "online_store:\n  type: sqlite\n  path: x\n"]
)
def test_another_online_store_has_no_packed_rows(tmp_path: Path, online: str) -> None:
    assert read_address(settings(tmp_path, online)) is None


def test_the_file_feast_was_told_is_the_one_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings(tmp_path, LMDB).joinpath("feature_store.yaml").rename(tmp_path / "cluster.yaml")
    monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", str(tmp_path / "cluster.yaml"))
    assert read_address(tmp_path) == LmdbAddress(path=tmp_path / "data/online_rows")


@pytest.mark.parametrize(
    ("online", "says"),
    [
        (LMDB + "  map_bytes: many\n", r"online_store\.map_bytes: Input should be a valid integer"),
        (LMDB + "  deadline: 1\n", r"online_store\.deadline: Extra inputs are not permitted"),
        (REDIS + "  socket_seconds: 0\n", r"online_store\.socket_seconds: Input should be greater than 0"),
        ("online_store: [\n", "while parsing"),
    ],
)
def test_a_field_that_cannot_be_used_is_named_with_its_file(tmp_path: Path, online: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        read_address(settings(tmp_path, online))
    assert caught.value.source == tmp_path / "feature_store.yaml"


def test_a_repo_without_settings_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_address(tmp_path)


def test_an_address_opens_its_store(tmp_path: Path) -> None:
    rows = open_rows(LmdbAddress(path=tmp_path / "rows"), create=True)
    assert isinstance(rows, LmdbRows)
    rows.close()
    assert isinstance(open_rows(RedisAddress(connection_string="nowhere:1")), RedisRows)
    with pytest.raises(ConfigError, match="names 2 servers"):
        open_rows(RedisAddress(connection_string="one:1,two:2"))


def test_looking_for_a_store_does_not_make_one(tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match=r"no online store in .*rows"):
        open_rows(LmdbAddress(path=tmp_path / "rows"))
    assert list(tmp_path.iterdir()) == []


def test_opening_a_repos_rows_imports_no_feast(tmp_path: Path) -> None:
    settings(tmp_path, LMDB)
    open_rows(LmdbAddress(path=tmp_path / "data" / "online_rows"), create=True).close()
    code = (
        "import sys; from pathlib import Path; from serving.features import open_feature_store; "
        f"open_feature_store(Path({str(tmp_path)!r})); "
        "print([m for m in ('feast', 'evidently', 'mlflow', 'polars') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.stdout == "[]\n", ran.stderr
