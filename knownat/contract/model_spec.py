"""A model's declaration: ``<repo>/models/<name>.toml``, one file a model.

Strictly validated; every problem is reported at once, with the file's name.
"""

import tomllib
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from knownat.contract.read_plan import KeyDtype
from knownat.contract.rules import Retraining, VerdictRules, Webhook
from knownat.errors import ConfigError

Task = Literal["binary", "regression", "multiclass", "quantile"]
InputDtype = Literal["int64", "float64", "string", "bool"]
Direction = Literal["higher", "lower"]
Baseline = Literal["prior", "last", "static", "logistic", "median"]

# metric -> (which way is better, the tasks it belongs to)
METRICS: dict[str, tuple[Direction, frozenset[str]]] = {
    "auc": ("higher", frozenset({"binary"})),
    "average_precision": ("higher", frozenset({"binary"})),
    "log_loss": ("lower", frozenset({"binary", "multiclass"})),
    "brier": ("lower", frozenset({"binary"})),
    "ece": ("lower", frozenset({"binary"})),
    "accuracy": ("higher", frozenset({"multiclass"})),
    "mae": ("lower", frozenset({"regression", "quantile"})),
    "rmse": ("lower", frozenset({"regression"})),
    "pinball": ("lower", frozenset({"quantile"})),
}

COSTS = ("size_mb", "latency_us")
"""What a gate may bound besides metrics: the model's bytes, and the CPU time of scoring one row."""

_BASELINE_TASKS: dict[str, frozenset[str]] = {
    "logistic": frozenset({"binary", "multiclass"}),
    "median": frozenset({"regression", "quantile"}),
}

_PLATFORM_PARAMS = frozenset(
    {"objective", "metric", "num_class", "num_threads", "nthread", "n_jobs", "deterministic"}
    | {"force_row_wise", "force_col_wise", "seed", "device", "device_type"}
)

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Text = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Examples(_Section):
    """Where the questions and their answers come from."""

    sql: Text
    """File beside the TOML; returns the keys, ``event_timestamp``, inputs, ``label``, ``label_timestamp``
    and the weight, if there is one."""
    keys: dict[str, KeyDtype]
    inputs: dict[str, InputDtype] = Field(default_factory=dict)
    question_time_input: str | None = None
    weight: Name | None = None
    """Column of the answer that says how much a row counts in the fit; metrics count rows alike."""

    @model_validator(mode="after")
    def _weight_is_a_column_of_its_own(self) -> Self:
        taken = {*self.keys, *self.inputs, "event_timestamp", "label", "label_timestamp"}
        if self.weight in taken:
            raise ValueError(
                f"weight '{self.weight}' must be a column of its own, not one of {sorted(taken)}"
            )
        return self

    @model_validator(mode="after")
    def _question_time_is_an_input(self) -> Self:
        name = self.question_time_input
        if name is not None and self.inputs.get(name) != "int64":
            raise ValueError(f"question_time_input '{name}' must be one of inputs, of type int64")
        return self


class TimeSplit(_Section):
    """Training uses labels known by ``cutoff``; the newest ``validation_days`` before it stop early.

    ``gap_hours`` of questions are dropped between the sides, since their labels were still open.
    The test window begins at the cutoff: questions whose labels training could not know.
    """

    cutoff: datetime
    validation_days: Annotated[int, Field(ge=1, le=3650)]
    gap_hours: Annotated[int, Field(ge=0, le=24 * 365)]
    test_days: Annotated[int, Field(ge=1, le=3650)]

    @model_validator(mode="after")
    def _cutoff_is_aware(self) -> Self:
        if self.cutoff.tzinfo is None:
            raise ValueError("cutoff has no time zone; write 2013-10-01T04:00:00Z")
        return self

    @property
    def gap(self) -> timedelta:
        """Time left out on the older side of each boundary."""
        return timedelta(hours=self.gap_hours)

    @property
    def test_end(self) -> datetime:
        """First instant after the test window."""
        return self.cutoff + timedelta(days=self.test_days)


class Lightgbm(_Section):
    """Parameters handed to LightGBM; what reproduction needs is fixed by the platform."""

    num_boost_round: Annotated[int, Field(ge=1, le=100_000)] = 500
    early_stopping_rounds: Annotated[int, Field(ge=0, le=10_000)] = 50
    params: dict[str, int | float | str | bool] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _platform_owns_what_reproduction_needs(self) -> Self:
        if taken := sorted(_PLATFORM_PARAMS & set(self.params)):
            raise ValueError(f"params {taken} are set by the platform, so that a release can be reproduced")
        return self


class CustomMetric(_Section):
    """A metric of the model's own: a function of labels, scores and row weights."""

    name: Name
    function: Annotated[str, Field(pattern=r"^[\w./-]+\.py:[A-Za-z_]\w*$")]
    """``file.py:function`` beside the TOML; it takes three float arrays and returns a float."""
    direction: Direction


class Gate(_Section):
    """One question that a release must pass, with exactly one bound.

    ``at_least`` and ``at_most`` bound a metric of the test window, or of each large enough group of a
    ``slice``. ``better_than`` names a baseline. ``not_worse_than`` compares with the champion on the
    same rows: it may be at most ``by`` worse, with 95 % certainty.
    """

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    better_than: Baseline | None = None
    not_worse_than: Literal["champion"] | None = None
    by: Annotated[float, Field(ge=0)] = 0.0
    slice: Text | None = None
    surely: bool = False
    """Judge the worse end of the 95 % interval instead of the value."""

    @model_validator(mode="after")
    def _one_bound(self) -> Self:
        bounds = (self.at_least, self.at_most, self.better_than, self.not_worse_than)
        if sum(bound is not None for bound in bounds) != 1:
            raise ValueError("a gate has exactly one of at_least, at_most, better_than, not_worse_than")
        if self.by and self.not_worse_than is None:
            raise ValueError("by goes with not_worse_than")
        compares = self.better_than or self.not_worse_than
        if compares and (self.slice or (self.surely and self.not_worse_than)):
            raise ValueError("slice goes with at_least and at_most; not_worse_than is always judged surely")
        if self.slice and self.surely:
            raise ValueError("a slice's groups have no interval; leave out surely")
        if self.metric in COSTS and (self.at_most is None or self.slice or self.surely):
            raise ValueError(f"{self.metric} is bounded with at_most")
        return self


class Slice(_Section):
    """A column whose groups are judged apart, where a group has at least ``min_rows``."""

    column: Text
    min_rows: Annotated[int, Field(ge=10)] = 500


class Leaks(_Section):
    """How a model is searched for values that were not known at the question."""

    instants: Annotated[int, Field(ge=1, le=20)] = 2
    """At how many times all that was not known then is rewritten; the first is the cutoff."""
    too_good: float | None = None
    """Value of the metric beyond which the model is taken to leak until shown otherwise."""
    accepted: dict[str, Text] = Field(default_factory=dict)
    """Suspicions that were looked into: the column, or ``split`` or ``metric``, and why it is honest."""


class Serving(_Section):
    """What a scorer answers when stored features cannot be had in time; each such answer says so."""

    when_store_fails: Literal["refuse", "nulls", "last_known"] = "refuse"
    """503; or a score from what is left; or one from the rows last read, where their ttl still holds."""
    deadline_ms: Annotated[int, Field(ge=1, le=60_000)] = 250
    """How long a request may take in all, from its first byte."""
    pseudonymous_keys: tuple[str, ...] = Field(default=(), strict=False)
    """Entity keys that the prediction log holds as keyed hashes: those that name a person."""


class Monitoring(_Section):
    """Windows and thresholds of the production judge."""

    window_hours: Annotated[int, Field(ge=1)] = 24
    min_rows: Annotated[int, Field(ge=1)] = 200
    """Fewer predictions, or labels, than these are not judged."""
    psi_threshold: Annotated[float, Field(gt=0)] = 0.1
    """Smallest shift of a column that matters; the noise of few rows may ask for more."""
    max_metric_drop: Annotated[float, Field(gt=0)] = 0.05
    """By what share of the release's own number the metric may be worse."""
    label_wait_hours: Annotated[int, Field(ge=0)] = 48
    """How long after the question a label is waited for; performance is judged on older questions."""
    compare_block_hours: Annotated[int, Field(ge=1)] = 24
    """Rows of so many hours count as one when versions are compared: a day's share what made them hard."""
    verdict: VerdictRules = Field(default_factory=VerdictRules)
    webhook: Webhook | None = None


class ModelSpec(_Section):
    """One model: the question, its examples, its parameters and its gates."""

    name: Name
    description: Text
    owner: Annotated[str, Field(pattern=r"^[^@\s]+@[^@\s]+$")]
    runbook: Text
    task: Task
    feature_service: Name
    examples: Examples
    time: TimeSplit
    lightgbm: Lightgbm = Field(default_factory=Lightgbm)
    metric: str
    quantile: Annotated[float, Field(gt=0, lt=1)] | None = None
    limits: tuple[str, ...] = Field(default=(), strict=False)
    """What a user of the model must know: selection effects and limits, for the model card."""
    static_columns: tuple[str, ...] = Field(default=(), strict=False)
    """Views or columns of the static-features baseline."""
    slices: tuple[Slice, ...] = Field(default=(), strict=False)
    baselines: tuple[Baseline, ...] = Field(default=("prior",), strict=False)
    last_value_keys: tuple[str, ...] = Field(default=(), strict=False)
    """Keys whose last known answer is the baseline ``last``; all keys by default."""
    custom_metrics: tuple[CustomMetric, ...] = Field(default=(), strict=False)
    gates: tuple[Gate, ...] = Field(default=(), strict=False)
    leaks: Leaks = Field(default_factory=Leaks)
    serving: Serving = Field(default_factory=Serving)
    monitoring: Monitoring = Field(default_factory=Monitoring)
    retraining: Retraining = Field(default_factory=Retraining)
    sunset: datetime | None = None
    """From then on the model's versions answer 410; before, each answer carries the date."""

    @property
    def direction(self) -> Direction:
        """Which way the metric improves."""
        return METRICS[self.metric][0]

    @model_validator(mode="after")
    def _metrics_fit_the_task(self) -> Self:
        own = {metric for metric, (_, tasks) in METRICS.items() if self.task in tasks}
        problems = [] if self.metric in own else [f"metric '{self.metric}' is not one of {sorted(own)}"]
        problems += [
            f"custom metric '{custom.name}' has the name of another"
            for number, custom in enumerate(self.custom_metrics)
            if custom.name in METRICS or custom.name in {c.name for c in self.custom_metrics[:number]}
        ]
        problems += [problem for gate in self.gates for problem in self._problems_of(gate, own)]
        problems += [
            f"baseline '{baseline}' belongs to a task of {sorted(_BASELINE_TASKS[baseline])}"
            for baseline in self.baselines
            if self.task not in _BASELINE_TASKS.get(baseline, {self.task})
        ]
        if self.sunset is not None and self.sunset.tzinfo is None:
            problems.append("sunset has no time zone; write 2027-01-01T00:00:00Z")
        if (self.task == "quantile") != (self.quantile is not None):
            problems.append("quantile = 0.x goes with task 'quantile', and only there")
        if "static" in self.baselines and not self.static_columns:
            problems.append("baseline 'static' needs static_columns")
        if unknown := sorted(set(self.last_value_keys) - set(self.examples.keys)):
            problems.append(f"last_value_keys {unknown} are not among the examples' keys")
        if unknown := sorted(set(self.serving.pseudonymous_keys) - set(self.examples.keys)):
            problems.append(f"serving.pseudonymous_keys {unknown} are not among the examples' keys")
        if problems:
            raise ValueError("; ".join(problems))
        return self

    def _problems_of(self, gate: Gate, own: set[str]) -> Iterator[str]:
        known = {*own, *COSTS, *(custom.name for custom in self.custom_metrics)}
        if gate.metric not in known:
            yield f"metric '{gate.metric}' is not one of {sorted(known)}"
        if gate.better_than is not None and gate.better_than not in self.baselines:
            yield f"gate on '{gate.metric}' compares with '{gate.better_than}', which is not among baselines"
        if gate.slice is not None and gate.slice not in {each.column for each in self.slices}:
            yield f"gate on '{gate.metric}' names slice '{gate.slice}', which is not among slices"
        if gate.slice is not None and gate.metric != self.metric:
            yield f"gate on '{gate.metric}' names a slice; groups are measured with '{self.metric}' alone"

    def direction_of(self, metric: str) -> Direction:
        """Which way a metric improves, one of the model's own too."""
        own = {custom.name: custom.direction for custom in self.custom_metrics}
        return own[metric] if metric in own else METRICS[metric][0]


def read_spec(path: Path) -> ModelSpec:
    """Read one declaration.

    Raises
    ------
    ConfigError
        With every problem of the file at once: unreadable, broken TOML, wrong or unknown values,
        a name that is not the file's.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        known = sorted(p.stem for p in path.parent.glob("*.toml"))
        raise ConfigError(path, [f"no such model; there are {known or 'none'} in {path.parent}"]) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(path, [f"cannot be read as TOML: {error}"]) from error
    problems = [] if table.get("name") == path.stem else [f"name must be '{path.stem}', the file's own"]
    try:
        spec = ModelSpec.model_validate(table)
    except ValidationError as error:
        problems += [_sentence(found["loc"], found["msg"]) for found in error.errors(include_url=False)]
        raise ConfigError(path, problems) from error
    if not (path.parent / spec.examples.sql).is_file():
        problems.append(f"examples.sql names '{spec.examples.sql}', which is not beside it")
    problems += [
        f"custom metric '{custom.name}': there is no file '{file}' beside it"
        for custom in spec.custom_metrics
        if not (path.parent / (file := custom.function.partition(":")[0])).is_file()
    ]
    if problems:
        raise ConfigError(path, problems)
    return spec


def model_names(folder: Path) -> list[str]:
    """List the models declared in a folder, sorted."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def _sentence(location: tuple[int | str, ...], message: str) -> str:
    where = ".".join(str(part) for part in location if part != "[key]")
    message = message.removeprefix("Value error, ")
    return f"{where}: {message}" if where else message
