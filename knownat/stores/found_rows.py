"""The rows that one question found, of all its views: checked at once, and looked at as one run of bytes.

What numpy costs to be called at all is paid once a question and not once a view, wherever it can be.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import compress, pairwise
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from knownat.stores.codec import BIAS, are_intact, is_intact
from knownat.stores.codec_read import RowDecoder
from knownat.stores.key_columns import NOTHING, Indices
from knownat.stores.plan_questions import Question
from knownat.stores.view_rows import ViewRows

Times = npt.NDArray[np.int64]

_NONE = (0, 0, 0)
_BITS = 8  # Bytes of null bits that are looked at for all views together.
_HEAD = np.dtype(
    [("version", "u1"), ("times", ">u8", (2,)), ("width", ">u2"), ("schema", "=u8"), ("nulls", ">u8")]
)


class Section(NamedTuple):
    """Rows of one view and one schema: which of the view's found rows, their bytes and fixed parts."""

    decoder: RowDecoder
    places: slice | Indices
    rows: Sequence[bytes]
    records: np.ndarray
    nulls: bytes | None
    """The null bits of all of them together, where they were looked at."""


class FoundRows:
    """Rows that are what was written under the keys of a question.

    ``cuts`` says where among the rows each view's begin, and where the last one's end.

    Raises
    ------
    CorruptRow
        If a row is not what was written under its key; it names the view.
    UnknownSchema, SchemaMismatch
        As :meth:`ViewRows.decoder` does.
    """

    def __init__(self, views: Sequence[ViewRows], question: Question, answer: Sequence[bytes | None]) -> None:
        self._views = views
        self._question = question
        self.rows: list[bytes] = list(filter(None, answer))
        self.places: Indices | None = None
        """The keys that have a row, where some have none."""
        self.cuts, keys = question.ends, question.keys
        if len(self.rows) < len(answer):
            found = compress(range(len(answer)), answer)
            self.places = np.fromiter(found, dtype=np.intp, count=len(self.rows))
            self.cuts = np.searchsorted(self.places, question.ends).tolist()
            keys = list(compress(keys, answer))
        whole = len(self.rows) + answer.count(None) == len(answer) if self.places is not None else True
        self._sizes = np.fromiter(map(len, self.rows), dtype=np.intp, count=len(self.rows))
        if not (whole and are_intact(keys, self.rows)):
            self._blame(answer)
        # What is looked at may be longer than the last row.
        self._data = b"".join([*self.rows, bytes(_HEAD.itemsize)])
        self._starts = self._sizes.cumsum() - self._sizes
        self._counts = [last - first for first, last in pairwise(self.cuts)]
        self._heads = self._windows(_HEAD, slice(None))
        self.times = (self._heads["times"].T.astype(np.uint64, order="C") ^ np.uint64(BIAS)).view(np.int64)
        """The event and the created time of each row: shape (2, rows)."""
        self._decoders = [
            view.decoder(self.rows[first]) if first < last else None
            for view, (first, last) in zip(views, pairwise(self.cuts), strict=True)
        ]
        self._mixed = self._find_mixed()

    def each_view(self, values: npt.ArrayLike) -> Times:
        """Give every row what is its view's, the last axis being that of the views."""
        return np.repeat(np.asarray(values, dtype=np.int64), self._counts, axis=-1)

    def _find_mixed(self) -> frozenset[int]:
        """Return the numbers of views whose rows are of several schemas, or not as long as theirs says."""
        # A view without rows has none to be odd.
        found = [_NONE if decoder is None else decoder.expected for decoder in self._decoders]
        number, least, most = self.each_view(np.array(found, dtype=np.int64).reshape(-1, 3).T)
        odd = self._heads["schema"].view(np.int64) != number
        odd |= self._sizes < least
        odd |= self._sizes > most
        if not odd.any():
            return frozenset()
        return frozenset(n for n, (first, last) in enumerate(pairwise(self.cuts)) if odd[first:last].any())

    @cached_property
    def _nulls(self) -> list[bytes | None]:
        """Each view's null bits, all of its rows together; None where they were not looked at."""
        found = [number for number, decoder in enumerate(self._decoders) if decoder is not None]
        together: list[bytes | None] = [None] * len(self._decoders)
        if not found:
            return together
        bits = np.bitwise_or.reduceat(self._heads["nulls"].astype(np.uint64), [self.cuts[n] for n in found])
        for number, some in zip(found, bits.tolist(), strict=True):
            decoder = self._decoders[number]
            if decoder is not None and decoder.layout.null_bytes <= _BITS and number not in self._mixed:
                together[number] = some.to_bytes(_BITS)[: decoder.layout.null_bytes]
        return together

    def part(self, number: int) -> slice:
        """Return where the rows of the view of this number are among all."""
        return slice(self.cuts[number], self.cuts[number + 1])

    def picks(self, number: int) -> Indices | None:
        """Return which of a view's found rows each entity row gets, or ``NOTHING``; None for its own."""
        asked, part = self._question.asked[number], self.part(number)
        count = part.stop - part.start
        if count == asked.count or self.places is None:
            return asked.wants
        # Behind the last entity stands what an entity row gets that names none.
        at = np.full(asked.count + 1, NOTHING, dtype=np.intp)
        at[self.places[part] - self._question.ends[number]] = np.arange(count)
        return at[:-1] if asked.wants is None else at[asked.wants]

    def sections(self, number: int) -> Iterator[Section]:
        """Yield the rows of the view of this number by schema.

        Raises
        ------
        CorruptRow
            If rows are not as long as their schema says.
        UnknownSchema, SchemaMismatch
            As :meth:`ViewRows.decoder` does.
        """
        decoder, part = self._decoders[number], self.part(number)
        if decoder is None:
            return
        if number not in self._mixed:
            records = self._records(decoder, part)
            yield Section(decoder, slice(None), self.rows[part], records, self._nulls[number])
            return
        view = self._views[number]
        by_schema: dict[RowDecoder, list[int]] = {}
        for place, row in enumerate(self.rows[part]):
            by_schema.setdefault(view.decoder(row), []).append(place)
        for schema, some in by_schema.items():
            places = np.array(some, dtype=np.intp)
            sizes, layout = self._sizes[places + part.start], schema.layout
            if wrong := int(((sizes < layout.least_bytes) | (sizes > layout.most_bytes)).sum()):
                raise view.corrupt(wrong)
            rows = [self.rows[part.start + place] for place in some]
            yield Section(schema, places, rows, self._records(schema, places + part.start), None)

    def _records(self, decoder: RowDecoder, places: slice | Indices) -> np.ndarray:
        layout = decoder.layout
        if layout.variable or not isinstance(places, slice):
            return self._windows(layout.record, places)
        start, count = int(self._starts[places.start]), places.stop - places.start
        return np.frombuffer(self._data, dtype=layout.whole_record, count=count, offset=start)

    def _windows(self, record: np.dtype, places: slice | Indices) -> np.ndarray:
        """Copy what lies at the beginnings of rows, wherever they begin."""
        windows = max(0, len(self._data) - record.itemsize + 1)
        kind = np.dtype((np.void, record.itemsize))  # Copied as bytes, and not field by field.
        everywhere = np.ndarray((windows,), dtype=kind, buffer=self._data, strides=(1,))
        return everywhere[self._starts[places]].view(record)

    def _blame(self, answer: Sequence[bytes | None]) -> NoReturn:
        bad = [
            row is not None and not is_intact(key, row)
            for key, row in zip(self._question.keys, answer, strict=True)
        ]
        counts = [sum(bad[first:last]) for first, last in pairwise(self._question.ends)]
        # What is intact row by row is intact together, so there is one.
        number = next(number for number, count in enumerate(counts) if count)
        raise self._views[number].corrupt(counts[number])
