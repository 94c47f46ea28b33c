"""The rows of one view, checked, and decoded by the schema that each of them names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import numpy.typing as npt

from knownat.errors import CorruptRow, SchemaMismatch, UnknownSchema
from knownat.stores.codec import IDENTITY, INTACT, VERSION, RowField, are_intact, is_intact, row_dtype
from knownat.stores.codec_read import DecodedRow, RowDecoder
from knownat.stores.row_keys import Entities, ViewName, entity_bytes, row_key
from knownat.stores.rows import RowReads


@dataclass(frozen=True)
class RowGroup:
    """Rows of one schema: of which of the keys they are, their bytes and their fixed parts."""

    decoder: RowDecoder
    places: slice | npt.NDArray[np.intp]
    rows: Sequence[bytes]
    records: np.ndarray

    @property
    def positions(self) -> Sequence[int]:
        """Which of the keys these rows are of."""
        return range(len(self.rows)) if isinstance(self.places, slice) else self.places.tolist()


class ViewRows:
    """Turns entities into keys of one view, and its rows into the wanted features."""

    def __init__(
        self, store: RowReads, name: ViewName, *, keys: Mapping[str, str], wanted: Sequence[RowField]
    ) -> None:
        self.name = name
        self.wanted = tuple(wanted)
        self.key_order = sorted(keys)
        self.dtypes = [row_dtype(keys[key]) for key in self.key_order]
        self._keys = tuple(RowField(k, d) for k, d in zip(self.key_order, self.dtypes, strict=True))
        self._prefix = name.prefix
        self._store = store
        self._decoders: dict[bytes, RowDecoder] = {}

    def key(self, values: Sequence[object]) -> bytes | None:
        """Return the key of one entity, its values given in ``key_order``; None for a null key."""
        if None in values:
            return None
        return row_key(self._prefix, entity_bytes(self.dtypes, values))

    def keys(self, entities: Entities) -> list[bytes]:
        """Return the keys of many entities."""
        return entities.row_keys(self._prefix)

    def one(self, key: bytes, row: bytes) -> DecodedRow:
        """Check and decode one row.

        Raises
        ------
        CorruptRow
            If it is not what was written under this key.
        UnknownSchema
            If the store does not hold its schema.
        SchemaMismatch
            If its schema has other keys, or a wanted feature as another type.
        """
        if crc32(row, crc32(key, INTACT)) != INTACT:
            raise self.corrupt(1)
        decoder = self._decoders.get(row[IDENTITY])
        if decoder is None or row[0] != VERSION:
            decoder = self._learn(row)
        return decoder.one(row)

    def groups(self, keys: Sequence[bytes], answer: Sequence[bytes | None]) -> Iterator[RowGroup]:
        """Check what was found under these keys and yield it by schema. Raises the same as :meth:`one`."""
        rows = [row for row in answer if row is not None]
        places: slice | npt.NDArray[np.intp] = slice(None)
        if len(rows) < len(answer):
            found = [i for i, row in enumerate(answer) if row is not None]
            keys, places = [keys[i] for i in found], np.array(found, dtype=np.intp)
        if not rows:
            return
        if not are_intact(keys, rows):
            raise self.corrupt(sum(not is_intact(k, row) for k, row in zip(keys, rows, strict=True)))
        decoder = self.decoder(rows[0])
        if (records := _alike(decoder, rows)) is not None:
            yield RowGroup(decoder, places, rows, records)
            return
        positions: dict[bytes, list[int]] = {}
        for position, row in enumerate(rows):
            positions.setdefault(row[:1] + row[IDENTITY], []).append(position)
        among = np.arange(len(rows))[places] if isinstance(places, slice) else places
        for some in positions.values():
            chosen = [rows[i] for i in some]
            decoder = self.decoder(chosen[0])
            yield RowGroup(decoder, among[some], chosen, decoder.records(chosen))

    def decoder(self, row: bytes) -> RowDecoder:
        """Return what decodes rows of the schema that a checked row names. Raises the same as :meth:`one`."""
        known = self._decoders.get(row[IDENTITY])
        return known if known is not None and row[0] == VERSION else self._learn(row)

    def _learn(self, row: bytes) -> RowDecoder:
        identity = row[IDENTITY]
        if row[0] != VERSION:
            raise UnknownSchema(
                f"{self.name}: a row has format version {row[0]}; upgrade knownat to read it."
            )
        schema = self._store.schemas(self.name).get(identity)
        if schema is None or schema.identity != identity:
            raise UnknownSchema(
                f"{self.name}: a row names schema {identity.hex()}, which the store does not hold. "
                "Materialize the view again."
            )
        if schema.keys != self._keys:
            raise SchemaMismatch(
                f"{self.name}: its rows are keyed by {_named(schema.keys)}, but asked for by "
                f"{_named(self._keys)}. Delete the view's rows and materialize it again."
            )
        decoder = self._decoders[identity] = RowDecoder(schema, self.wanted)
        return decoder

    def corrupt(self, count: int) -> CorruptRow:
        """Name so many rows that are not what was written."""
        return CorruptRow(
            f"{self.name}: {count} stored row(s) are damaged or were written under another key; nothing of "
            "the answer is used. Delete the view's rows and materialize it again."
        )


def _alike(decoder: RowDecoder, rows: Sequence[bytes]) -> np.ndarray | None:
    """View the fixed parts of rows of one schema and format, or nothing if there are several."""
    try:
        records = decoder.records(rows)
    except ValueError:
        return None
    others = (records["schema"] != decoder.schema.number) | (records["version"] != VERSION)
    return None if len(records) != len(rows) or others.any() else records


def _named(fields: Sequence[RowField]) -> dict[str, str]:
    return {field.name: field.dtype for field in fields}
