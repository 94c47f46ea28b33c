"""A number a row: 64 bits of its whole content, the same on every machine and in every version."""

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from knownat.errors import SchemaMismatch

Hashes = npt.NDArray[np.uint64]

_NULL = np.uint64(0x9E3779B97F4A7C15)


def mix(values: Hashes) -> Hashes:
    """Scatter 64-bit numbers one to one over all others (the finaliser of SplitMix64)."""
    mixed = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(mixed ^ (mixed >> np.uint64(31)), dtype=np.uint64)


def hash_rows(table: pa.Table) -> Hashes:
    """Hash each row of a table by its columns' names and values; equal rows are told apart by count.

    Raises
    ------
    SchemaMismatch
        If a column is of a type that no event table has.
    """
    total = np.zeros(table.num_rows, dtype=np.uint64)
    # Sorted by name, so that the order of columns says nothing.
    for name in sorted(table.column_names):
        total = mix(total ^ _hash_column(table[name].combine_chunks(), name))
    return mix(total + _occurrence(total))


def _hash_column(column: pa.Array, name: str) -> Hashes:
    seed = _digest(name.encode())
    bits = mix(_bits(column, name) ^ seed)
    if column.null_count:
        bits[pc.is_null(column).to_numpy(zero_copy_only=False)] = mix(np.array([seed ^ _NULL]))[0]
    return bits


def _bits(column: pa.Array, name: str) -> Hashes:
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        encoded = column.dictionary_encode()
        known = [_digest(value.encode()) for value in encoded.dictionary.to_pylist()]
        if not known:
            return np.zeros(len(column), dtype=np.uint64)
        places = pc.fill_null(encoded.indices, 0).to_numpy()
        return np.asarray(np.array(known, dtype=np.uint64)[places], dtype=np.uint64)
    if pa.types.is_floating(kind):
        floats = pc.fill_null(column, 0.0).cast(pa.float64()).to_numpy(zero_copy_only=False) + 0.0
        return np.where(np.isnan(floats), np.nan, floats).view(np.uint64)
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        return _whole(column).view(np.uint64)
    raise SchemaMismatch(f"Column '{name}' is {kind}; rows with it cannot be told apart. Cast it in its SQL.")


def _whole(column: pa.Array) -> npt.NDArray[np.int64]:
    kind = column.type
    if pa.types.is_date32(kind) or pa.types.is_time32(kind):
        column = column.cast(pa.int32())
    numbers = column.cast(pa.int64(), safe=False)
    return np.array(pc.fill_null(numbers, 0).to_numpy(zero_copy_only=False), dtype=np.int64)


def _occurrence(hashes: Hashes) -> Hashes:
    """Count how often each row was met before."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    runs = np.diff(np.append(begins, len(ordered)))
    met = np.empty(len(hashes), dtype=np.uint64)
    met[order] = np.arange(len(hashes)) - np.repeat(begins, runs) if len(hashes) else met
    return met


def _digest(content: bytes) -> np.uint64:
    return np.uint64(int.from_bytes(hashlib.blake2b(content, digest_size=8).digest(), "little"))
