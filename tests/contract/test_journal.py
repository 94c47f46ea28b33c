"""The journal: exact rows, whole records, torn tails, full disks."""

import math
import os
import struct
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knownat.contract.journal import JournalWriter, RowCodec, frame, read_journal
from knownat.contract.prediction_log import TIMESTAMP
from knownat.errors import LogError

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("count", pa.int64()),
        pa.field("mean", pa.float64()),
        pa.field("late", pa.bool_()),
        pa.field("carrier", pa.string()),
        pa.field("when", TIMESTAMP),
        *(pa.field(f"extra_{i}", pa.float64()) for i in range(5)),
    ]
)
INT64 = st.integers(-(2**63), 2**63 - 1)
# Every bit pattern, so every NaN and both zeros.
DOUBLES = st.binary(min_size=8, max_size=8).map(lambda b: struct.unpack("<d", b)[0]) | st.floats()
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
ROWS = st.tuples(
    TEXT,
    st.none() | INT64,
    st.none() | DOUBLES,
    st.none() | st.booleans(),
    st.none() | TEXT,
    st.none() | INT64,
    *[st.none() | DOUBLES] * 5,
)


def bits(value):
    return struct.pack("<d", value) if isinstance(value, float) else value


def stored_rows(table):
    columns = [
        column.cast(pa.int64()) if column.type == TIMESTAMP else column
        for column in (chunked.combine_chunks() for chunked in table.columns)
    ]
    return [tuple(bits(column[i].as_py()) for column in columns) for i in range(len(table))]


def write(path, rows):
    codec, journal = RowCodec(SCHEMA), JournalWriter(path, SCHEMA)
    ends = [journal.size]
    for row in rows:
        journal.append(frame(codec.encode(row)))
        ends.append(journal.size)
    journal.close()
    return ends


@given(st.lists(ROWS, max_size=12))
def test_rows_come_back_exact_to_the_bit(rows):
    codec = RowCodec(SCHEMA)

    table = codec.decode([codec.encode(row) for row in rows])

    assert table.schema == SCHEMA
    assert stored_rows(table) == [tuple(map(bits, row)) for row in rows]


@given(rows=st.lists(ROWS, min_size=1, max_size=6), share=st.floats(0, 1))
def test_a_journal_torn_at_any_byte_is_a_prefix_of_whole_records(tmp_path_factory, rows, share):
    path = tmp_path_factory.mktemp("journal") / "journal-a.bin"
    ends = write(path, rows)
    torn_at = round(share * ends[-1])
    os.truncate(path, torn_at)

    journal = read_journal(path)

    whole = sum(end <= torn_at for end in ends[1:])
    assert len(journal.payloads) == whole
    if torn_at >= ends[0]:
        assert stored_rows(journal.table()) == [tuple(map(bits, row)) for row in rows[:whole]]
        assert journal.torn_bytes == torn_at - ends[whole]
    else:
        assert journal.schema is None
        assert journal.torn_bytes == torn_at


@given(position=st.integers(0, 10_000), flip=st.integers(1, 255))
def test_a_flipped_bit_is_never_read_as_a_row(tmp_path_factory, position, flip):
    path = tmp_path_factory.mktemp("journal") / "journal-a.bin"
    rows = [(str(i), i, i / 3, True, None, i, *[math.nan] * 5) for i in range(3)]
    ends = write(path, rows)
    content = bytearray(path.read_bytes())
    position = ends[0] + position % (ends[-1] - ends[0])
    content[position] ^= flip
    path.write_bytes(content)

    untouched = sum(end <= position for end in ends[1:])
    assert stored_rows(read_journal(path).table()) == [tuple(map(bits, row)) for row in rows[:untouched]]


def test_a_tail_of_zeros_is_torn_not_a_row(tmp_path):
    ends = write(tmp_path / "journal-a.bin", [("a", *[None] * 10)])
    os.truncate(tmp_path / "journal-a.bin", ends[-1] + 4096)

    journal = read_journal(tmp_path / "journal-a.bin")

    assert (len(journal.payloads), journal.torn_bytes) == (1, 4096)


def test_a_journal_carries_its_schema(tmp_path):
    write(tmp_path / "journal-a.bin", [])

    assert read_journal(tmp_path / "journal-a.bin").schema == SCHEMA


def test_another_file_is_refused_by_name(tmp_path):
    (tmp_path / "journal-a.bin").write_bytes(b"PAR1 and more")

    with pytest.raises(LogError, match=r"journal-a\.bin is not a journal"):
        read_journal(tmp_path / "journal-a.bin")


WRONG = {
    "text for a number": (1, "7"),
    "a fraction for an integer": (1, 1.5),
    "an integer beyond 64 bits": (1, 2**63),
    "an integer beyond a double": (2, 10**400),
    "a number for a bool": (3, 1),
    "a number for text": (4, 7),
    "half a surrogate pair": (4, "\ud800"),
    "null where one is needed": (0, None),
}


@pytest.mark.parametrize(("position", "value"), WRONG.values(), ids=WRONG)
def test_a_value_of_another_type_is_refused_without_being_repeated(position, value):
    row = ["a", 1, 1.0, True, "b", 1, *[None] * 5]
    row[position] = value

    with pytest.raises(LogError, match="does not fit the log's schema") as refusal:
        RowCodec(SCHEMA).encode(row)
    assert str(value) not in str(refusal.value) or value is None


def test_a_column_of_a_type_that_no_row_can_hold_is_named():
    with pytest.raises(LogError, match=r"cannot hold \['when: date32\[day\]'\]; its columns are \['int64'"):
        RowCodec(pa.schema([pa.field("id", pa.string()), pa.field("when", pa.date32())]))


def test_a_record_that_is_shorter_than_a_row_is_damage_and_no_row(tmp_path):
    journal = JournalWriter(tmp_path / "journal-a.bin", SCHEMA)
    journal.append(frame(b"a whole record, and no row"))
    journal.close()

    with pytest.raises(LogError, match="shorter than a row of its journal's schema"):
        read_journal(tmp_path / "journal-a.bin").table()


def test_a_full_disk_leaves_only_whole_records(tmp_path):
    code = f"""
import resource, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_journal import SCHEMA, RowCodec, JournalWriter, frame
codec, journal = RowCodec(SCHEMA), JournalWriter(Path("journal-a.bin"), SCHEMA)
one = frame(codec.encode(["a" * 50, *[None] * 10]))
resource.setrlimit(resource.RLIMIT_FSIZE, (journal.size + len(one) * 3 + 7, resource.RLIM_INFINITY))
for rows in (2, 2, 1, 1):
    try:
        journal.append(one * rows)
    except OSError as error:
        print(error.errno)
"""
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )

    journal = read_journal(tmp_path / "journal-a.bin")
    assert ran.stdout.split() == ["27", "27"]  # EFBIG: two rows, then the one after the third
    assert (len(journal.payloads), journal.torn_bytes) == (3, 0)


def test_a_row_holds_the_microsecond(tmp_path):
    moment = datetime(2013, 10, 15, 12, 0, 0, 1, tzinfo=UTC)
    codec = RowCodec(pa.schema([pa.field("when", TIMESTAMP)]))

    table = codec.decode([codec.encode([1_381_838_400_000_001])])

    assert table["when"].to_pylist() == [moment]
