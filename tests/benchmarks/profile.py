"""Profile and drift numbers of a window, ours beside Evidently's: ``python -m tests.benchmarks.profile``.

Both get the same two tables. Evidently computes its default drift scores (Wasserstein distance for
numbers, Jensen-Shannon for names) and draws; ours counts both sides, or only the window where the
reference was counted when the model was released, and draws with Evidently from stand-ins. Every
score of ours is compared with Evidently's own of the same run.
"""

import argparse
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from knownat.contract.profile import Layout, Profile
from knownat.contract.schema import Column
from tests.benchmarks.contenders import Measured, measure
from tests.benchmarks.table import Line, record

SIZES = {"1M x 20": (1_000_000, 20), "100k x 100": (100_000, 100)}
WORK = "drift of a window"
AGREES = 0.003
_CITIES = np.array(["Athens", "Bergen", "Cork", "Dijon", "Essen"])


def make_tables(folder: Path, *, rows: int, columns: int) -> None:
    """Write a reference and a window: every shape of column, every second one of them moved."""
    random = np.random.default_rng(17)
    for side in ("reference", "window"):
        table = {}
        for number in range(columns):
            moved = side == "window" and number % 2 == 1
            table[f"f{number:03}"] = _column(random, rows, number % 7, moved=moved)
        pq.write_table(pa.table(table), folder / f"{side}.parquet")


def _column(random: np.random.Generator, rows: int, shape: int, *, moved: bool) -> np.ndarray:
    shift = 0.4 if moved else 0.0
    match shape:
        case 0:
            return random.normal(50, 8, rows) + 8 * shift
        case 1:
            return random.lognormal(shift, 1, rows)
        case 2:
            return np.where(random.random(rows) < 0.7 - shift / 2, 0.0, random.exponential(9, rows))
        case 3:
            return random.poisson(4 + shift, rows).astype(np.float64)
        case 4:
            return np.cumsum(random.normal(size=rows)) / rows**0.5
        case 5:
            return random.exponential(3 + shift, rows)
        case _:
            weights = np.array([0.4, 0.3, 0.15, 0.1, 0.05]) + shift * np.array([-0.5, 0.2, 0.1, 0.1, 0.1])
            return random.choice(_CITIES, rows, p=weights)


def profile_both(folder: str) -> Callable[[], pa.Table]:
    """Choose the buckets, count both sides, and compare."""
    reference, window = _tables(folder)
    columns = _columns(reference)

    def run() -> pa.Table:
        layout = Layout.fit(reference, columns)
        return _scores(layout.count(reference), layout.count(window))

    return run


def profile_window(folder: str) -> Callable[[], pa.Table]:
    """Count the window and compare it with what was counted before."""
    reference, window = _tables(folder)
    layout = Layout.fit(reference, _columns(reference))
    known = layout.count(reference)
    return lambda: _scores(known, layout.count(window))


def profile_window_from_parquet(folder: str) -> Callable[[], pa.Table]:
    """The same, the window read from its file in the same pass."""
    reference, _ = _tables(folder)
    layout = Layout.fit(reference, _columns(reference))
    known = layout.count(reference)
    return lambda: _scores(known, layout.count_parquet([Path(folder) / "window.parquet"]))


def profile_and_draw(folder: str) -> Callable[[], pa.Table]:
    """Count the window, compare, and have Evidently draw its report from stand-ins."""
    from monitoring.drift import DriftRules, measure_drift
    from monitoring.renderer import render_report
    from monitoring.surrogates import surrogate

    reference, window = _tables(folder)
    layout = Layout.fit(reference, _columns(reference))
    known = layout.count(reference)
    rules = DriftRules(effect=0.1, min_rows=200, columns=len(layout.grids))

    def run() -> pa.Table:
        seen = layout.count(window)
        measured = [
            measure_drift(column, seen.columns[name], rules, importance=0.0)
            for name, column in known.columns.items()
        ]
        samples = [
            {
                name: surrogate(name, column, rows[name], reference=known.columns[name])
                for name, column in side.columns.items()
            }
            for side, rows in ((seen, window), (known, reference))
        ]
        when = datetime(2024, 1, 1, tzinfo=UTC)
        path = Path(folder) / "ours.html"
        render_report(path, window=samples[0], baseline=samples[1], measured=measured, when=when)
        return pa.table({"column": [m.column for m in measured], "score": [m.distance for m in measured]})

    return run


def evidently_preset(folder: str) -> Callable[[], pa.Table]:
    """Evidently's drift preset over every row of both sides, drawn."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    reference, window = (table.to_pandas() for table in _tables(folder))
    numbers = [name for name in reference if reference[name].dtype == np.float64]
    names = [name for name in reference if name not in numbers]

    def run() -> pa.Table:
        definition = DataDefinition(numerical_columns=numbers, categorical_columns=names)
        sides = (Dataset.from_pandas(side, data_definition=definition) for side in (window, reference))
        snapshot = Report([DataDriftPreset()]).run(*sides)
        snapshot.save_html(str(Path(folder) / "evidently.html"))
        found = {
            metric["config"]["column"]: float(metric["value"])
            for metric in snapshot.dict()["metrics"]
            if "column" in metric.get("config", {})
        }
        return pa.table({"column": list(found), "score": list(found.values())})

    return run


def _tables(folder: str) -> tuple[pa.Table, pa.Table]:
    reference, window = (pq.read_table(Path(folder) / f"{side}.parquet") for side in ("reference", "window"))
    return reference, window


def _columns(table: pa.Table) -> list[Column]:
    return [
        Column(name=field.name, dtype="category", categories=())
        if pa.types.is_string(field.type)
        else Column(name=field.name, dtype="float64")
        for field in table.schema
    ]


def _scores(reference: Profile, window: Profile) -> pa.Table:
    from monitoring.drift import DriftRules, measure_drift

    rules = DriftRules(effect=0.1, min_rows=200, columns=len(reference.columns))
    found = [
        measure_drift(column, window.columns[name], rules, importance=0.0)
        for name, column in reference.columns.items()
    ]
    return pa.table({"column": [drift.column for drift in found], "score": [d.distance for d in found]})


CONTENDERS = {
    "Evidently, DataDriftPreset": "evidently_preset",
    "knownat, both sides counted": "profile_both",
    "knownat, window counted": "profile_window",
    "knownat, window counted from Parquet": "profile_window_from_parquet",
    "knownat, window counted, drawn by Evidently": "profile_and_draw",
}


def run(size: str) -> None:
    """Measure every contender on one size, check its scores, and record."""
    rows, columns = SIZES[size]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_tables(folder, rows=rows, columns=columns)
        costs: dict[str, Measured] = {}
        for who, function in CONTENDERS.items():
            repeat = 0 if function == "evidently_preset" else 3
            save = folder / f"{function}.parquet"
            costs[who] = measure(
                f"tests.benchmarks.profile:{function}", repeat=repeat, save=save, folder=name
            )
            _check(pq.read_table(folder / "evidently_preset.parquet"), pq.read_table(save), who=who)
        slowest = costs["Evidently, DataDriftPreset"].warm_cpu
        record(
            [
                Line(
                    work=WORK,
                    size=size,
                    who=who,
                    cpu_seconds=cost.warm_cpu,
                    peak_mb=cost.peak_mb,
                    ratio=slowest / cost.warm_cpu,
                )
                for who, cost in costs.items()
            ]
        )


def _check(wanted: pa.Table, found: pa.Table, *, who: str) -> None:
    theirs, ours = (dict(zip(*table.to_pydict().values(), strict=True)) for table in (wanted, found))
    if theirs.keys() != ours.keys():
        raise AssertionError(f"{who} has scores of other columns: {sorted(theirs.keys() ^ ours.keys())}")
    worst = max(theirs, key=lambda column: abs(theirs[column] - ours[column]))
    if abs(theirs[worst] - ours[worst]) > AGREES:
        raise AssertionError(f"{who}: {worst} is {ours[worst]}, Evidently says {theirs[worst]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, action="append")
    for chosen in parser.parse_args().size or SIZES:
        run(chosen)
