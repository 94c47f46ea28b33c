"""A process that writes or reads generations of rows, so that a test can kill it or starve it.

A generation is one batch: every entity's row says the same event time and values that follow
from it, so a mixed batch or a torn row shows.
"""

import resource
import sys
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pyarrow as pa

from knownat.errors import KnownatError
from knownat.stores.codec import RowSchema, is_intact
from knownat.stores.codec_read import RowDecoder, row_times
from knownat.stores.lmdb_rows import open_lmdb
from knownat.stores.packed_write import write_table
from knownat.stores.redis_rows import RedisRows
from knownat.stores.row_keys import Entities, ViewName
from knownat.stores.rows import RowStore

VIEW = ViewName("shop", "orders")
SCHEMA = RowSchema.of(keys={"customer": "int64"}, features={"a": "float64", "b": "int64", "s": "string"})
ENTITIES = 300
KEYS = Entities(["int64"], [list(range(ENTITIES))], ENTITIES).row_keys(VIEW.prefix)


def open_rows(where: str) -> RowStore:
    if where.startswith("redis:"):
        return RedisRows(where, socket_seconds=10, read_deadline_seconds=10)
    return open_lmdb(Path(where))


def write_generation(store: RowStore, generation: int, *, entities: int = ENTITIES) -> None:
    entity = np.arange(entities)
    at = pa.array(np.full(entities, generation), pa.int64()).cast(pa.timestamp("us", tz="UTC"))
    columns = {
        "customer": entity,
        "a": np.full(entities, generation / 2),
        "b": entity * 1_000_000 + generation,
        "s": [f"{generation}-" * (1 + generation % 7)] * entities,
        "event_timestamp": at,
        "created_timestamp": at,
    }
    write_table(store, VIEW, SCHEMA, pa.table(columns), now_us=10**15)


def generation_of(entity: int, key: bytes, row: bytes) -> int:
    """The generation a row says, once every part of it agrees."""
    assert is_intact(key, row)
    generation, created = row_times(row)
    wanted = [generation / 2, entity * 1_000_000 + generation, f"{generation}-" * (1 + generation % 7)]
    assert created == generation
    assert RowDecoder(SCHEMA, SCHEMA.features).values(row) == wanted
    return generation


def generations(store: RowStore) -> set[int | None]:
    rows = store.read(KEYS)
    return {
        None if row is None else generation_of(entity, KEYS[entity], row) for entity, row in enumerate(rows)
    }


def say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write(where: str, *span: int) -> None:
    store = open_rows(where)
    for generation in range(*span):
        write_generation(store, generation)
        say(generation)


def bulk(where: str, entities: int) -> None:
    write_generation(open_rows(where), 2, entities=entities)


def read(where: str, last: int) -> None:
    store = open_rows(where)
    reads = 0
    while (seen := generations(store)) != {last}:
        reads += 1
        assert len(seen) == 1, f"one batch, two generations: {seen}"
        if reads == 1:
            say("reading")


def hold(where: str) -> None:
    """Stay inside one read: between reads, a reader has no place in LMDB's table."""
    with lmdb.open(where, max_dbs=3) as env, env.begin():
        say("holding")
        sys.stdin.read()


def starve(where: str, most_bytes: int) -> None:
    """Write ever larger generations until no file may grow any more."""
    store = open_rows(where)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    try:
        for generation in range(1, 1_000):
            write_generation(store, generation, entities=ENTITIES * generation)
            say(generation)
    except KnownatError as error:
        say(f"{type(error).__name__}: {error}")


JOBS: dict[str, Callable[..., None]] = {
    "write": write, "bulk": bulk, "read": read, "hold": hold, "starve": starve,
}  # fmt: skip

if __name__ == "__main__":
    JOBS[sys.argv[1]](sys.argv[2], *map(int, sys.argv[3:]))
