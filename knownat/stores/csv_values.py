"""Text to typed values, exactly: a value that would change or be lost is a problem named by its line."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import polars as pl

from knownat.stores.csv_text import MOST_LINES, name_lines

ValueType = Literal["int64", "float64", "bool", "string"]
VALUE_TYPES: tuple[ValueType, ...] = get_args(ValueType)

_WHOLE = r"^[+-]?(0|[1-9][0-9]*)$"  # a leading zero belongs to a code, not to a number
_DECIMAL = r"^[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_DECIMAL_COMMA = r"^[+-]?[0-9]+,[0-9]+$"
_TRUTH = {"true": True, "false": False}
_POLARS = {"int64": pl.Int64(), "float64": pl.Float64(), "bool": pl.Boolean(), "string": pl.String()}


@dataclass(frozen=True)
class Typed:
    """A column with a type, or why it cannot have one."""

    type: ValueType
    values: pl.Series
    problems: tuple[str, ...] = ()


def type_column(
    column: pl.Series, lines: pl.Series, *, wanted: ValueType | None = None, decimal: str = "."
) -> Typed:
    """Give a column of text the type that holds every value exactly, or the wanted one.

    Whole numbers are int64, to the last digit; other numbers float64; true and false bool; all else
    text. Leading zeros make a code, which is text. A column that is mostly numbers, but not only, is
    a problem: what its other values mean has to be said.
    """
    if column.is_null().all():
        text = f"column '{column.name}' has no value in any row; leave it out with --skip {column.name}"
        return Typed("string", column, () if wanted == "string" else (text,))
    plain = column.str.strip_chars()
    if decimal == ",":
        plain = plain.str.replace(",", ".", literal=True)
    kind = wanted or _guess(plain)
    if kind is None:
        return Typed("string", column, (_mixed(column, plain, lines),))
    if kind == "string":
        return Typed(kind, column)
    values = _cast(plain, kind)
    return Typed(kind, values, tuple(_lost(column, plain, values, kind, lines)))


def _guess(plain: pl.Series) -> ValueType | None:
    known = plain.drop_nulls()
    if known.str.to_lowercase().is_in(list(_TRUTH)).all():
        return "bool"
    if known.str.contains(_WHOLE).all():
        return "int64"
    numbers = known.str.contains(_DECIMAL)
    if numbers.all():
        return "float64"
    # With a comma for a point, a number looks like text; which it is cannot be seen.
    either = numbers | known.str.contains(_DECIMAL_COMMA)
    return None if 2 * int(either.sum()) >= len(known) else "string"


def _cast(plain: pl.Series, kind: ValueType) -> pl.Series:
    if kind == "bool":
        return plain.str.to_lowercase().replace_strict(_TRUTH, default=None, return_dtype=pl.Boolean)
    grammar = _WHOLE if kind == "int64" else _DECIMAL
    frame = pl.DataFrame({"text": plain}).select(
        pl.when(pl.col("text").str.contains(grammar)).then(pl.col("text"))
    )
    return frame["text"].cast(_POLARS[kind], strict=False).alias(plain.name)


def _lost(
    column: pl.Series, plain: pl.Series, values: pl.Series, kind: ValueType, lines: pl.Series
) -> list[str]:
    """Say which values the type does not hold as they were written."""
    name = column.name
    bad = values.is_null() & column.is_not_null()
    problems = []
    if kind == "int64" and (beyond := bad & plain.str.contains(_WHOLE).fill_null(value=False)).any():
        problems.append(
            f"column '{name}', {name_lines(lines, beyond)}: an integer beyond 64 bits; keep the column as "
            f"text with --type {name}=string"
        )
        bad = bad & ~beyond
    if bad.any():
        problems.append(
            f"column '{name}', {name_lines(lines, bad)}: {_quoted(column.filter(bad))} is no {kind}"
        )
    if kind == "float64" and (rounded := _rounded(plain, values)).any():
        problems.append(
            f"column '{name}', {name_lines(lines, rounded)}: {_quoted(column.filter(rounded))} does not fit "
            f"a decimal column exactly; keep the column as text with --type {name}=string"
        )
    return problems


def _rounded(plain: pl.Series, values: pl.Series) -> pl.Series:
    """Tell which numbers a double changes: whole ones beyond 2**53, and what is too large for any."""
    wide = (plain.str.contains(_WHOLE) & (values.abs() >= 2**53)).fill_null(value=False)
    changed = [
        whole and (math.isinf(value) or int(text) != int(value))
        for whole, text, value in zip(wide, plain, values, strict=True)
    ]
    return pl.Series(changed, dtype=pl.Boolean) | values.is_infinite().fill_null(value=False)


def _mixed(column: pl.Series, plain: pl.Series, lines: pl.Series) -> str:
    numbers = plain.str.contains(_DECIMAL).fill_null(value=True)
    odd = ~numbers
    commas = plain.str.contains(_DECIMAL_COMMA).fill_null(value=False)
    if commas.any() and (numbers | commas).all():
        return (
            f"column '{column.name}', {name_lines(lines, commas)}: {_quoted(column.filter(commas))} has a "
            "comma in a number; say --decimal , if it stands for a decimal point"
        )
    holds = "holds" if odd.sum() == 1 else "hold"
    example = column.filter(odd)[0]
    return (
        f"column '{column.name}' holds numbers, but {name_lines(lines, odd)} {holds} "
        f"{_quoted(column.filter(odd))}; say --null '{example}' if it means a missing value, or "
        f"--type {column.name}=string if the column is text"
    )


def _quoted(values: pl.Series) -> str:
    distinct: Sequence[str] = values.unique(maintain_order=True).to_list()
    shown = ", ".join(f"'{value}'" for value in distinct[:MOST_LINES])
    return shown + (", ..." if len(distinct) > MOST_LINES else "")
