from datetime import UTC, datetime

import duckdb
import pytest

from training.rewriting import rewrite_unknown

AT = datetime(2024, 1, 20, tzinfo=UTC)
HORIZON = "TIMESTAMPTZ '2024-02-03 00:00:00Z'"
HOUR = "date_diff('hour', TIMESTAMPTZ '2024-01-01 00:00:00Z', known_at)"
KNOWN = "known_at <= TIMESTAMPTZ '2024-01-20 00:00:00Z'"


@pytest.fixture
def connection():
    """An event an hour for six weeks: its number in two columns, its shop, when it was paid."""
    opened = duckdb.connect()
    opened.execute("SET TimeZone = 'UTC'")
    opened.execute(
        "CREATE TABLE orders AS SELECT TIMESTAMPTZ '2024-01-01 00:00:00Z' + to_hours(i) AS known_at, "
        "i % 5 AS shop_id, i AS cents, 'order ' || i AS note, known_at - INTERVAL 1 HOUR AS paid_at "
        "FROM range(1000) AS t (i)"
    )
    yield opened
    opened.close()


def rewrite(connection, seed=1):
    return rewrite_unknown(connection, ["orders"], at=AT, identity={"shop_id", "known_at"}, seed=seed)


def count(connection, condition):
    return connection.execute(f"SELECT count(*) FROM orders WHERE {condition}").fetchone()[0]


def test_what_was_known_stays_as_it_was(connection):
    before = connection.sql(f"SELECT * FROM orders WHERE {KNOWN} ORDER BY cents").fetchall()
    rewrite(connection)
    assert connection.sql(f"SELECT * FROM orders WHERE {KNOWN} ORDER BY cents").fetchall() == before


def test_what_was_not_known_is_thinned_out_and_dealt_anew(connection):
    (told,) = rewrite(connection)
    assert (told.event, told.unknown) == ("orders", 543)
    assert told.removed + told.changed == 543
    left = connection.sql(f"SELECT * FROM orders WHERE NOT {KNOWN}").fetchall()
    assert len(left) == told.changed
    # Two thirds of the fourteen days' 336 rows are left, and nearly all hold another row's values.
    assert 190 < len(left) < 260
    assert count(connection, f"known_at > {HORIZON}") == 0
    assert count(connection, f"NOT {KNOWN} AND cents = {HOUR}") < 10
    # Nobody is given what was known: order 456 is of the instant itself.
    assert count(connection, f"NOT {KNOWN} AND cents <= 456") == 0


def test_values_of_one_row_stay_together_and_times_and_keys_stay_in_place(connection):
    rewrite(connection)
    assert count(connection, "note <> 'order ' || cents") == 0
    assert count(connection, "paid_at <> known_at - INTERVAL 1 HOUR") == 0
    assert count(connection, f"shop_id <> {HOUR} % 5") == 0


def test_a_seed_always_rewrites_alike_and_another_one_otherwise(connection):
    def rewritten(seed):
        connection.execute("CREATE OR REPLACE TABLE orders AS FROM original")
        rewrite(connection, seed)
        rows = connection.sql("SELECT known_at, cents FROM orders ORDER BY known_at").fetchall()
        return dict(rows)

    connection.execute("CREATE TABLE original AS FROM orders")
    one, other = rewritten(1), rewritten(2)
    assert rewritten(1) == one
    # Other rows are gone, and those that are left hold other values.
    assert one.keys() != other.keys()
    unknown = [when for when in one.keys() & other.keys() if when > AT]
    assert sum(one[when] == other[when] for when in unknown) < 10 < len(unknown)


def test_a_table_without_values_is_only_thinned_out(connection):
    connection.execute("CREATE TABLE closures AS SELECT known_at, shop_id FROM orders")
    (told,) = rewrite_unknown(connection, ["closures"], at=AT, identity={"shop_id"}, seed=1)
    assert told.changed == 0
    assert told.removed > 300
