"""What LMDB's rows survive: full map, full disk, killed readers and writers, two writers."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import lmdb
import pytest

from knownat.errors import StoreFull, StoreUnavailable
from knownat.stores.lmdb_rows import LmdbRows, open_lmdb
from tests.faults.processes import finish, running, wait_for_line
from tests.faults.row_process import KEYS, VIEW, generation_of, generations, write_generation


@pytest.fixture
def rows(tmp_path: Path) -> Iterator[LmdbRows]:
    opened = open_lmdb(tmp_path / "rows")
    yield opened
    opened.close()


def test_a_full_map_grows_and_nothing_is_lost(tmp_path: Path) -> None:
    rows = open_lmdb(tmp_path / "small", map_bytes=1 << 16)
    write_generation(rows, 1, entities=5_000)
    assert len(list(rows.scan(VIEW))) == 5_000
    assert generations(rows) == {1}
    rows.close()


def test_a_map_that_may_not_grow_names_its_bound_and_keeps_what_was_there(tmp_path: Path) -> None:
    rows = open_lmdb(tmp_path / "bound", map_bytes=1 << 18, most_map_bytes=1 << 18)
    write_generation(rows, 1)
    with pytest.raises(StoreFull, match="may not grow beyond 262144"):
        write_generation(rows, 2, entities=50_000)
    assert generations(rows) == {1}
    assert len(list(rows.scan(VIEW))) == 300
    write_generation(rows, 3, entities=10)
    rows.close()


@pytest.mark.parametrize("first", ["read", "write"])
def test_a_map_that_another_process_let_grow_is_taken_over(tmp_path: Path, first: str) -> None:
    rows = open_lmdb(tmp_path / "rows", map_bytes=1 << 18)
    write_generation(rows, 1)
    with running("bulk", rows.path, 20_000) as writer:
        finish(writer)
    if first == "write":
        write_generation(rows, 1)
    assert generations(rows) == {2}
    write_generation(rows, 3)
    assert generations(rows) == {3}
    rows.close()


def test_a_full_disk_is_named_and_what_was_stored_stays(tmp_path: Path) -> None:
    with running("starve", tmp_path / "rows", 2_000_000) as writer:
        *done, named = finish(writer)
    assert done
    assert named.startswith("StoreFull: ")
    assert "no room on the disk" in named

    rows = open_lmdb(tmp_path / "rows")
    assert generations(rows) == {int(done[-1])}
    write_generation(rows, 5_000)
    assert generations(rows) == {5_000}
    rows.close()


def test_a_killed_readers_place_is_cleared_by_the_next_write(rows: LmdbRows) -> None:
    write_generation(rows, 1)
    with running("hold", rows.path) as reader:
        assert wait_for_line(reader) == "holding"
        reader.kill()
        reader.wait()
        write_generation(rows, 3)
        assert rows._env.reader_check() == 0


def test_a_batch_is_seen_whole_or_not_at_all_by_other_processes(rows: LmdbRows) -> None:
    write_generation(rows, 1)
    with running("read", rows.path, 120) as one, running("read", rows.path, 120) as two:
        for reader in (one, two):
            assert wait_for_line(reader) == "reading"
        for generation in range(2, 121):
            write_generation(rows, generation)
        finish(one)
        finish(two)


def test_two_writers_lose_nothing(rows: LmdbRows) -> None:
    with running("write", rows.path, 1, 80, 2) as odd, running("write", rows.path, 2, 81, 2) as even:
        finish(odd)
        finish(even)
    assert generations(rows) == {80}


def test_a_killed_writer_leaves_whole_batches_and_a_second_run_converges(rows: LmdbRows) -> None:
    with running("write", rows.path, 1, 100_000) as writer:
        last = 0
        while last < 20:
            last = int(wait_for_line(writer))
        writer.kill()
        writer.wait()
    (left,) = generations(rows)
    assert left is not None
    assert left >= 20
    with running("write", rows.path, 1, left + 30) as again:
        finish(again)
    assert generations(rows) == {left + 29}


def test_a_folder_that_is_not_lmdbs_is_named(tmp_path: Path) -> None:
    (tmp_path / "data.mdb").write_bytes(b"not a database" * 1_000)
    with pytest.raises(StoreUnavailable, match="cannot be opened"):
        open_lmdb(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot be made"):
        open_lmdb(tmp_path / "file")


def test_holders_of_one_folder_share_it_until_the_last_lets_go(tmp_path: Path) -> None:
    one, two = open_lmdb(tmp_path / "rows"), open_lmdb(tmp_path / "x" / ".." / "rows")
    write_generation(one, 1)
    one.close()
    assert generation_of(0, KEYS[0], two.read(KEYS[:1])[0] or b"") == 1
    two.close()
    two.close()
    with lmdb.open(str(tmp_path / "rows"), max_dbs=3) as env:
        assert env.stat()["entries"] == 3
    shutil.rmtree(tmp_path / "rows")
