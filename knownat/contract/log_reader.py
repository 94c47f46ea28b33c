"""Read the prediction log: sealed segments and open journals together, each prediction once.

``predictions/<model>/<version>/`` and ``predictions/labels/`` hold ``journal-<name>.bin`` and
``segment-<name>.parquet``. A segment replaces the journal of its name: where both are there, sealing
was cut short after the rename and the segment is the whole of it.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knownat.clock import to_us
from knownat.contract.journal import read_journal
from knownat.contract.prediction_log import LABEL_SCHEMA, TIMESTAMP, prediction_schema
from knownat.contract.read_plan import ReadPlan
from knownat.errors import LogError

LABELS = "labels"
TORN_BYTES = b"knownat.torn_bytes"
_JOURNAL, _SEGMENT = "journal-", "segment-"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogPart:
    """The rows of one journal or segment, and the bytes of its torn tail."""

    path: Path
    table: pa.Table
    torn_bytes: int


def journal_path(folder: Path, name: str) -> Path:
    """Where a journal of this name lies."""
    return folder / f"{_JOURNAL}{name}.bin"


def segment_of(journal: Path) -> Path:
    """Where the segment lies that a journal becomes."""
    return journal.with_name(f"{_SEGMENT}{journal.stem.removeprefix(_JOURNAL)}.parquet")


def journals_in(folder: Path) -> list[Path]:
    """List a folder's journals, by name."""
    return sorted(folder.glob(f"{_JOURNAL}*.bin"))


def version_folders(root: Path, model: str) -> list[Path]:
    """List the folders of a model's log, one a version, by name."""
    return sorted(path for path in (root / model).glob("*") if path.is_dir())


@dataclass(frozen=True)
class Wanted:
    """What a reader needs of each part, so that the rest of a long log need not be decoded."""

    span: tuple[datetime, datetime] | None = None
    """Questions asked in [first, second): a group of rows wholly outside may be left out."""
    columns: tuple[str, ...] | None = None
    """Only these, where they are there; all by default."""


def read_parts(folder: Path, wanted: Wanted | None = None) -> Iterator[LogPart]:
    """Read a folder of the log part by part, also while journals are being sealed under the reader.

    Raises
    ------
    LogError
        If a segment or a journal is damaged beyond its tail.
    """
    for segment in _parts_of(folder):
        part = _read_part(segment, wanted or Wanted())
        if part is None:
            continue
        if part.torn_bytes:
            _logger.warning("%s: skipped a torn tail of %d bytes", part.path, part.torn_bytes)
        yield part


def read_predictions(
    root: Path,
    model: str,
    *,
    start: datetime,
    end: datetime,
    version: str | None = None,
    columns: tuple[str, ...] | None = None,
) -> pa.Table:
    """Return the predictions whose question was asked in [start, end), ordered by time, then id.

    The columns are the union over the model's versions; a version's missing columns are null. Torn
    bytes that were skipped are counted in the schema's metadata under ``TORN_BYTES``.

    Parameters
    ----------
    columns
        Only these, the three that rows are ordered by among them; all by default.

    Raises
    ------
    LogError
        If a file is damaged beyond its tail, or two versions give a column types that do not unite.
    """
    wanted = Wanted((start, end), columns)
    tables, torn = [_chosen(_empty(), wanted)], 0
    for folder in version_folders(root, model):
        if version is None or folder.name == version:
            for part in read_parts(folder, wanted):
                tables.append(_within(part.table, start, end))
                torn += part.torn_bytes
    united = _unite(tables, model)
    ordered = united.sort_by(
        [(name, "ascending") for name in ("event_timestamp", "logged_at", "prediction_id")]
    )
    return ordered.replace_schema_metadata({TORN_BYTES: str(torn).encode()})


def read_labels(root: Path, model: str | None = None) -> pa.Table:
    """Return one label a prediction, ordered by id; where several came, the newest known, then logged.

    Raises
    ------
    LogError
        If a file is damaged beyond its tail.
    """
    found = pa.concat_tables([LABEL_SCHEMA.empty_table(), *(p.table for p in read_parts(root / LABELS))])
    if model is not None:
        # A prediction id begins with its model's name, which holds no dot.
        found = found.filter(pc.starts_with(found["prediction_id"], f"{model}."))
    # Stable, so that of several that were posted at once the last stays behind the others.
    by = [(name, "ascending") for name in ("prediction_id", "label_timestamp", "logged_at")]
    found = found.take(pc.sort_indices(found, by))
    ids = found["prediction_id"].combine_chunks()
    last = pa.array([True] * bool(len(ids)))
    is_last = pc.not_equal(ids[:-1], ids[1:]) if len(ids) > 1 else pa.array([], pa.bool_())
    return found.filter(pa.concat_arrays([is_last, last])) if len(ids) else found


def _parts_of(folder: Path) -> list[Path]:
    # Journals first: what is sealed meanwhile is a segment by then. Where retention renames a segment over
    # the one before while a listing runs, some file systems show neither; the second listing does.
    found: set[Path] = set()
    for _ in range(2):
        found.update(segment_of(path) for path in journals_in(folder))
        found.update(folder.glob(f"{_SEGMENT}*.parquet"))
    return sorted(found)


def _read_part(segment: Path, wanted: Wanted) -> LogPart | None:
    journal = journal_path(segment.parent, segment.stem.removeprefix(_SEGMENT))
    # Sealing puts the segment there before the journal goes, so in this order two looks find one of them.
    for path in (journal, segment):
        try:
            return _read_segment(path, wanted) if path is segment else _read_journal(path, wanted)
        except FileNotFoundError:
            continue
    return None


def _read_segment(path: Path, wanted: Wanted) -> LogPart:
    try:
        # A path would be searched for partitions in its folders' names; a Python file, read by Arrow's
        # threads, now and then aborts a process that ends soon after.
        with pa.OSFile(str(path)) as file:
            parquet = pq.ParquetFile(file)
            table = parquet.read_row_groups(_groups_within(parquet.metadata, wanted), wanted.columns)
    except pa.ArrowException as error:
        raise LogError(f"{path} cannot be read: {error}. Restore it or move it away.") from error
    torn = int((table.schema.metadata or {}).get(TORN_BYTES, b"0"))
    return LogPart(path, table.replace_schema_metadata(None), torn)


def _groups_within(metadata: pq.FileMetaData, wanted: Wanted) -> list[int]:
    """Name the row groups that may hold rows of the span; of one that does not tell its times, it may."""
    groups = range(metadata.num_row_groups)
    names = metadata.schema.names if wanted.span is not None else []
    if wanted.span is None or "event_timestamp" not in names:
        return list(groups)
    (start, end), place = wanted.span, names.index("event_timestamp")
    times = {group: metadata.row_group(group).column(place).statistics for group in groups}
    return [
        group
        for group, told in times.items()
        if told is None or not told.has_min_max or (told.min < end and told.max >= start)
    ]


def _read_journal(path: Path, wanted: Wanted) -> LogPart:
    journal = read_journal(path)
    table = journal.table()
    return LogPart(path, pa.table({}) if table is None else _chosen(table, wanted), journal.torn_bytes)


def _chosen(table: pa.Table, wanted: Wanted) -> pa.Table:
    names = table.column_names if wanted.columns is None else wanted.columns
    return table.select([name for name in names if name in table.column_names])


def _within(table: pa.Table, start: datetime, end: datetime) -> pa.Table:
    if not table.num_columns:
        return table
    when = table["event_timestamp"]
    first, last = (pa.scalar(to_us(moment), pa.int64()).cast(TIMESTAMP) for moment in (start, end))
    return table.filter(pc.and_(pc.greater_equal(when, first), pc.less(when, last)))


def _unite(tables: Iterable[pa.Table], model: str) -> pa.Table:
    try:
        united = pa.concat_tables(_with_like_keys(list(tables)), promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise LogError(
            f"Versions of '{model}' log a column with types that do not unite: {error}. "
            "Read one version at a time."
        ) from error
    # The empty log's columns came first; the rest keeps the order of its own schema, the tail last.
    tail = [name for name in _TAIL if name in united.column_names]
    tail += [name for name in united.column_names if name.startswith("class__")]
    return united.select([name for name in united.column_names if name not in tail] + tail)


def _with_like_keys(tables: list[pa.Table]) -> list[pa.Table]:
    """Make text of a key that only some versions log as a pseudonym."""
    kinds: dict[str, set[pa.DataType]] = {}
    for field in (field for table in tables for field in table.schema if field.name.startswith("key__")):
        kinds.setdefault(field.name, set()).add(field.type)
    mixed = [name for name, found in kinds.items() if len(found) > 1]
    return [_as_text(table, mixed) for table in tables]


def _as_text(table: pa.Table, names: Iterable[str]) -> pa.Table:
    for name in names:
        place = table.schema.get_field_index(name)
        if place >= 0:
            table = table.set_column(place, name, table[name].cast(pa.string()))
    return table


_TAIL = ("degraded", "score", "latency_us")


def _empty() -> pa.Table:
    plan = ReadPlan(project="", feature_service="", views=(), output_columns=())
    return prediction_schema(plan).empty_table()
