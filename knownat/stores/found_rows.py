"""The rows that one question found, of all its views: checked at once, and looked at as one run of bytes.

What numpy costs to be called at all is paid once a question and not once a view, wherever it can be.
"""

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import compress, pairwise
from typing import NamedTuple, NoReturn

import numpy as np
import numpy.typing as npt

from knownat.stores.codec import BIAS, VERSION, are_intact, is_intact
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


class _Run:
    """Rows behind one another in one run of bytes: how long each is, where it begins, and how."""

    def __init__(self, data: bytes, sizes: Times) -> None:
        self.sizes = sizes
        self.starts = sizes.cumsum() - sizes
        self._data = data
        self.heads = self.windows(_HEAD, slice(None))

    def windows(self, record: np.dtype, places: slice | Indices) -> np.ndarray:
        """Copy what lies at the beginnings of rows, wherever they begin."""
        windows = max(0, len(self._data) - record.itemsize + 1)
        kind = np.dtype((np.void, record.itemsize))  # Copied as bytes, and not field by field.
        everywhere = np.ndarray((windows,), dtype=kind, buffer=self._data, strides=(1,))
        return everywhere[self.starts[places]].view(record)

    def alike(self, record: np.dtype, places: slice) -> np.ndarray:
        """View rows that are this long and nothing else."""
        count = places.stop - places.start
        return np.frombuffer(self._data, record, count, int(self.starts[places.start]))


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
        if not (whole and are_intact(keys, self.rows)):
            self._blame(answer)
        self._counts = [last - first for first, last in pairwise(self.cuts)]
        self._decoders = [
            view.decoder(self.rows[first]) if first < last else None
            for view, (first, last) in zip(views, pairwise(self.cuts), strict=True)
        ]
        self._run, self._mixed = self._join()
        times = self._run.heads["times"].T.astype(np.uint64, order="C") ^ np.uint64(BIAS)
        self.times = times.view(np.int64)
        """The event and the created time of each row: shape (2, rows)."""

    def each_view(self, values: npt.ArrayLike) -> Times:
        """Give every row what is its view's, the last axis being that of the views."""
        return np.repeat(np.asarray(values, dtype=np.int64), self._counts, axis=-1)

    def _join(self) -> tuple[_Run, frozenset[int]]:
        """Put the rows behind one another; return as well which views' rows are not all as their first is.

        Rows without text are as long as their schemas say, and are not measured. If one were not, the next
        would not lie where it is looked for, and name no schema there; behind the last, the sum tells.
        """
        # What is looked at may be longer than the last row.
        data = b"".join([*self.rows, bytes(_HEAD.itemsize)])
        # A view without rows has none to be odd.
        said = [_NONE if decoder is None else decoder.expected for decoder in self._decoders]
        number, least, most = self.each_view(np.array(said, dtype=np.int64).reshape(-1, 3).T)
        sizes = least.copy()
        for view, decoder in enumerate(self._decoders):
            if decoder is not None and decoder.layout.variable:
                sizes[self.part(view)] = self._measured(self.part(view))
        if sizes.sum() + _HEAD.itemsize == len(data):
            run = _Run(data, sizes)
            if not _odd(run, number, least, most).any():
                return run, frozenset()
        run = _Run(data, self._measured(slice(None)))
        odd = _odd(run, number, least, most)
        if not odd.any():
            return run, frozenset()
        return run, frozenset(n for n, (a, b) in enumerate(pairwise(self.cuts)) if odd[a:b].any())

    def _measured(self, part: slice) -> Times:
        return np.fromiter(map(len, self.rows[part]), dtype=np.int64)

    @cached_property
    def _nulls(self) -> list[bytes | None]:
        """Each view's null bits, all of its rows together; None where they were not looked at."""
        found = [number for number, decoder in enumerate(self._decoders) if decoder is not None]
        together: list[bytes | None] = [None] * len(self._decoders)
        if not found:
            return together
        bits = np.bitwise_or.reduceat(
            self._run.heads["nulls"].astype(np.uint64), [self.cuts[n] for n in found]
        )
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
            sizes, layout = self._run.sizes[places + part.start], schema.layout
            if wrong := int(((sizes < layout.least_bytes) | (sizes > layout.most_bytes)).sum()):
                raise view.corrupt(wrong)
            rows = [self.rows[part.start + place] for place in some]
            yield Section(schema, places, rows, self._records(schema, places + part.start), None)

    def _records(self, decoder: RowDecoder, places: slice | Indices) -> np.ndarray:
        layout = decoder.layout
        if layout.variable or not isinstance(places, slice):
            return self._run.windows(layout.record, places)
        return self._run.alike(layout.whole_record, places)

    def _blame(self, answer: Sequence[bytes | None]) -> NoReturn:
        bad = [
            row is not None and not is_intact(key, row)
            for key, row in zip(self._question.keys, answer, strict=True)
        ]
        counts = [sum(bad[first:last]) for first, last in pairwise(self._question.ends)]
        # What is intact row by row is intact together, so there is one.
        number = next(number for number, count in enumerate(counts) if count)
        raise self._views[number].corrupt(counts[number])


def _odd(run: _Run, number: Times, least: Times, most: Times) -> npt.NDArray[np.bool_]:
    """Tell of which rows the schema, the format or the length is another than expected."""
    odd: npt.NDArray[np.bool_] = run.heads["schema"].view(np.int64) != number
    odd |= run.heads["version"] != VERSION
    odd |= (run.sizes < least) | (run.sizes > most)
    return odd
