"""Columns as they would be, had they been served as other rows were: by rank, null for null.

What stood at a rank of its own column takes what stands at the same rank of the other; so a changed
unit, a shift or a clip is undone, while who is above whom stays. What was lost (nulls, names never
seen) cannot be had back: it is filled by chance from what the other rows hold.
"""

import numpy as np
import numpy.typing as npt

from monitoring.metrics import Floats

Places = npt.NDArray[np.int64]
_SEED = 20130101


def reshape(matrix: Floats, like: Floats, columns: Places, *, names: Places, lose: bool) -> Floats:
    """Return the rows with these columns held as ``like`` holds them; the others stay as they are.

    Parameters
    ----------
    matrix, like
        Model columns in the booster's order, float64; NaN is no value. A name is its number.
    names
        Columns that hold names: they have no rank, so only lost ones are filled.
    lose
        Whether values are taken away, too, where ``like`` has fewer of them.
    """
    found = matrix.copy()
    for column in columns.tolist():
        random = np.random.default_rng((_SEED, column))
        made = _filled(found[:, column], like[:, column], random)
        is_name = column in names
        if is_name and lose:
            made = _renamed(made, like[:, column], random)
        elif not is_name:
            made = _ranked(made, like[:, column])
        found[:, column] = _emptied(made, like[:, column], random) if lose else made
    return found


def _filled(values: Floats, like: Floats, random: np.random.Generator) -> Floats:
    """Fill as many of the nulls as ``like`` has fewer of, with values of ``like``."""
    empty, there = np.flatnonzero(np.isnan(values)), like[~np.isnan(like)]
    spare = len(empty) - round(float(np.isnan(like).mean()) * len(values)) if len(like) else 0
    if spare <= 0 or not len(there):
        return values
    filled = values.copy()
    filled[random.choice(empty, spare, replace=False)] = random.choice(there, spare)
    return filled


def _emptied(values: Floats, like: Floats, random: np.random.Generator) -> Floats:
    """Take as many values away as ``like`` has more nulls."""
    there = np.flatnonzero(~np.isnan(values))
    more = len(there) - round(float((~np.isnan(like)).mean()) * len(values)) if len(like) else 0
    if more <= 0:
        return values
    emptied = values.copy()
    emptied[random.choice(there, more, replace=False)] = np.nan
    return emptied


def _ranked(values: Floats, like: Floats) -> Floats:
    """Give each value what stands at its own rank in ``like``; equal ones share a middle rank."""
    there, target = ~np.isnan(values), np.sort(like[~np.isnan(like)])
    if not there.any() or not len(target):
        return values
    kept, place, times = np.unique(values[there], return_inverse=True, return_counts=True)
    middle = (np.cumsum(times) - times / 2) / len(place)
    at = np.minimum((middle * len(target)).astype(np.int64), len(target) - 1)
    made = values.copy()
    made[there] = target[at][place]
    return made if len(kept) else values


def _renamed(values: Floats, like: Floats, random: np.random.Generator) -> Floats:
    """Exchange names by chance until each has the share that ``like`` gives it."""
    there, target = np.flatnonzero(~np.isnan(values)), like[~np.isnan(like)]
    if not len(there) or not len(target):
        return values
    codes = np.union1d(values[there], target)
    have, want = ((held[:, None] == codes).mean(axis=0) for held in (values[there], target))
    made = values.copy()
    short = np.maximum(want - have, 0)
    if not short.sum():
        return values
    short /= short.sum()
    for code, surplus in zip(codes, have - want, strict=True):
        rows = there[values[there] == code]
        count = min(round(surplus * len(there)), len(rows))
        if count > 0:
            made[random.choice(rows, count, replace=False)] = random.choice(
                codes, count, p=short / short.sum()
            )
    return made
