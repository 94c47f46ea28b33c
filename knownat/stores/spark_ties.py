"""Full ties on Spark: a value that compares as the packed payload's bytes do (``knownat.stores.ties``).

Building the bytes themselves would send every row through Python. What decides is their order, and
that is spelled here in Spark's own values: null flags first, then the fixed-width values in the order
of the layout, the sizes of text and lists, and their contents. Big-endian bytes without a sign put
negative numbers above all others; null is zero, NaN above every positive number, -0.0 is 0.0.
"""

from collections.abc import Callable

from pyspark.sql import Column
from pyspark.sql import functions as fn
from pyspark.sql import types as tp

from knownat.stores.codec import FIXED, RowField, RowSchema

_SPARK: dict[str, tp.DataType] = {
    "float64": tp.DoubleType(),
    "int64": tp.LongType(),
    "timestamp": tp.TimestampType(),
    "float32": tp.FloatType(),
    "int32": tp.IntegerType(),
    "bool": tp.BooleanType(),
    "string": tp.StringType(),
    "bytes": tp.BinaryType(),
}
_BYTES = {"float64": 8, "int64": 8, "timestamp": 8, "float32": 4, "int32": 4, "bool": 1}
_NUMBERS = ("float64", "int64", "float32", "int32")
_FAMILIES: dict[str, tuple[type[tp.DataType], ...]] = {
    **dict.fromkeys(_NUMBERS, (tp.IntegralType, tp.FloatType, tp.DoubleType, tp.NullType)),
    "timestamp": (tp.TimestampType, tp.TimestampNTZType, tp.NullType),
    "bool": (tp.BooleanType, tp.NullType),
    "string": (tp.StringType, tp.NullType),
    "bytes": (tp.BinaryType, tp.NullType),
}
_UNDECLARED: dict[str, tuple[type[tp.DataType], ...]] = {
    **{name: _FAMILIES[name] for name in ("timestamp", "bool", "string", "bytes")},
    "int64": (tp.IntegralType,),
    "float64": (tp.DoubleType,),
    "float32": (tp.FloatType,),
}


def packed_type(kind: tp.DataType) -> str | None:
    """Name the packed type of a column nobody declared; None if no packed row can hold it."""
    if isinstance(kind, tp.ArrayType):
        item = packed_type(kind.elementType)
        return f"list<{item}>" if item in _SPARK else None
    return next((name for name, family in _UNDECLARED.items() if isinstance(kind, family)), None)


def payload_order(
    schema: RowSchema, column: Callable[[str], Column], stored: Callable[[str], tp.DataType]
) -> Column:
    """Return a value whose order is that of the rows' payloads.

    It raises while Spark runs if a value does not fit its declared type exactly, as encoding it
    would; rows without a tie need not be asked.
    """
    parts = [fn.array(*(column(field.name).isNull() for field in schema.features))]
    values = {f.name: _typed(f, column(f.name), stored(f.name)) for f in schema.features}
    for dtype in schema.layout.groups:
        group = [values[field.name] for field in schema.features if field.dtype == dtype]
        parts.append(fn.array(*(_fixed_order(value, dtype) for value in group)))
    variable = [field for field in schema.features if field.dtype not in FIXED]
    if variable:
        parts.append(fn.array(*(_size(values[field.name], field.dtype) for field in variable)))
    parts += [_content(values[field.name], field.dtype) for field in variable]
    return fn.struct(*(part.alias(f"p{place}") for place, part in enumerate(parts)))


def _typed(field: RowField, column: Column, stored: tp.DataType) -> Column:
    if not field.dtype.startswith("list<"):
        return _exact(field.name, field.dtype, column, stored)
    item = field.dtype[5:-1]
    if not isinstance(stored, (tp.ArrayType, tp.NullType)):
        return _refused(field, stored)
    inner = stored.elementType if isinstance(stored, tp.ArrayType) else tp.NullType()
    complaint = fn.raise_error(f"feature '{field.name}' has null items; a list here holds values only")
    # A null item is refused as it is met: `transform` evaluates each one.
    return fn.transform(
        column.cast(tp.ArrayType(inner)),
        lambda value: fn.when(value.isNull(), complaint.cast(_SPARK[item])).otherwise(
            _exact(field.name, item, value, inner)
        ),
    )


def _exact(name: str, dtype: str, value: Column, stored: tp.DataType) -> Column:
    """Cast to the declared type; doubles round to a declared float32, every other cast is exact."""
    if dtype.startswith("opaque:"):
        return value.cast(tp.BinaryType())
    wanted = _SPARK[dtype]
    if not isinstance(stored, _FAMILIES[dtype]):
        return _refused(RowField(name, dtype), stored)
    if stored == wanted or dtype not in _NUMBERS or dtype == "float32":
        return value.cast(wanted)
    cast = value.try_cast(wanted)
    lost = value.isNotNull() & (cast.isNull() | (cast.try_cast(stored) != value))
    what = f"feature '{name}' holds {stored.simpleString()} that {dtype} cannot hold exactly"
    return fn.when(lost, fn.raise_error(what).cast(wanted)).otherwise(cast)


def _refused(field: RowField, stored: tp.DataType) -> Column:
    dtype = field.dtype
    kind = tp.ArrayType(_SPARK[dtype[5:-1]]) if dtype.startswith("list<") else _SPARK[dtype]
    what = f"feature '{field.name}' holds {stored.simpleString()}; its view declares {dtype}"
    return fn.raise_error(what).cast(kind)


def _fixed_order(value: Column, dtype: str) -> Column:
    if dtype == "bool":
        return fn.coalesce(value, fn.lit(False))
    number = fn.unix_micros(value) if dtype == "timestamp" else value
    number = fn.coalesce(number, fn.lit(0).cast("bigint" if dtype == "timestamp" else _SPARK[dtype]))
    # Of negative floats the larger magnitude has the greater bytes; of integers the larger number.
    size = fn.abs(number) if dtype.startswith("float") else number
    return fn.struct((number < 0).alias("negative"), size.alias("size"))


def _size(value: Column, dtype: str) -> Column:
    if not dtype.startswith("list<"):
        size = fn.octet_length(value)
    elif (item := dtype[5:-1]) in FIXED:
        size = fn.size(value) * fn.lit(_BYTES[item])
    else:
        size = fn.aggregate(value, fn.lit(0), lambda total, text: total + fn.octet_length(text) + fn.lit(4))
    return fn.when(value.isNull(), fn.lit(0)).otherwise(size)


def _content(value: Column, dtype: str) -> Column:
    if not dtype.startswith("list<"):
        return value.cast(tp.BinaryType())
    item = dtype[5:-1]
    if item in FIXED:
        return fn.transform(value, lambda each: _fixed_order(each, item))
    return fn.transform(
        value,
        lambda each: fn.struct(
            fn.octet_length(each).alias("bytes"), each.cast(tp.BinaryType()).alias("content")
        ),
    )
