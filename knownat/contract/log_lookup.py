"""Find one prediction in the log by its id, without reading the others.

An id names the model and the process that answered (:mod:`serving.prediction_ids`), and that process's
journals and segments carry its name: only those are looked into.
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from knownat.contract.journal import find_record
from knownat.contract.log_reader import version_folders
from knownat.errors import LogError

_WRITER_CHARACTERS = 16
_ID = "prediction_id"


def find_prediction(root: Path, prediction_id: str) -> dict[str, object] | None:
    """Return the row of one prediction by column, or none if the log does not hold it.

    Raises
    ------
    LogError
        If a segment that may hold it is damaged.
    """
    model, _, rest = prediction_id.partition(".")
    writer = rest[:_WRITER_CHARACTERS]
    if not (model + writer).isidentifier():
        return None
    # A journal that is sealed between the two looks is a segment at the second.
    for _ in range(2):
        for table in _candidates(root, model, writer, prediction_id):
            if table is not None and len(table):
                (row,) = table.to_pylist()
                return dict(row)
    return None


def _candidates(root: Path, model: str, writer: str, prediction_id: str) -> Iterator[pa.Table | None]:
    for folder in version_folders(root, model):
        for path in sorted(folder.glob(f"*-{writer}-*")):
            try:
                if path.suffix == ".bin":
                    yield find_record(path, prediction_id)
                elif path.suffix == ".parquet":
                    yield _in_segment(path, prediction_id)
            except FileNotFoundError:
                continue


def _in_segment(path: Path, prediction_id: str) -> pa.Table | None:
    try:
        with pa.OSFile(str(path)) as file:
            segment = pq.ParquetFile(file)
            for group in range(segment.num_row_groups):
                ids = segment.read_row_group(group, columns=[_ID], use_threads=False)[_ID]
                if (place := pc.index(ids, prediction_id).as_py()) >= 0:
                    return segment.read_row_group(group, use_threads=False).slice(place, 1)
    except pa.ArrowException as error:
        raise LogError(f"{path} cannot be read: {error}. Restore it or move it away.") from error
    return None
