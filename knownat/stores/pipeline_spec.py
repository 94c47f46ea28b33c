"""What ``<repo>/pipelines/pipelines.toml`` declares: raw files, logs, events and when known, features.

Strictly validated; every problem is reported at once, with the file's name.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from knownat.errors import ConfigError

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Text = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RawFile(_Section):
    """A CSV file as it came, plain or as one member of a zip archive; it becomes ``raw_<name>``.

    ``path`` is relative to the installed ``package`` that brings the file, or to the repo.
    """

    package: Text | None = None
    path: Text
    null: str = ""
    """The text that stands for a missing value."""
    columns: Annotated[dict[str, Text], Field(min_length=1)]
    """The file's columns in its own order, each with its DuckDB type; nothing is guessed."""


LogDtype = Literal["BIGINT", "DOUBLE", "BOOLEAN", "VARCHAR", "TIMESTAMPTZ"]
"""What a column of the prediction log can be."""


class ServedLog(_Section):
    """A model's prediction log and its labels; they become ``served_<name>`` and ``served_<name>_labels``."""

    model: Name
    columns: dict[Text, LogDtype] = Field(default_factory=dict)
    """Columns of the log to read besides those that every log has; nothing is guessed."""


class _Query(_Section):
    name: Name
    sql: Text
    """File beside ``pipelines.toml`` that holds one SELECT."""


class Staging(_Query):
    """A table that only later staging tables and events may read."""


class Event(_Query):
    """A table of what happened; the only kind that features and examples may read."""

    known_at: Text
    """SQL expression over the event's columns: when the platform could know the row."""


class Feature(_Query):
    """A feature table: one Parquet file, sorted by when its rows became visible."""

    keys: Annotated[tuple[Name, ...], Field(min_length=1)]
    """Join keys; together with both times they name one row."""


class PipelineSpec(_Section):
    """Everything the pipelines of one repo declare, in the order it runs."""

    raw: dict[Name, RawFile] = Field(default_factory=dict)
    served: dict[Name, ServedLog] = Field(default_factory=dict)
    staging: tuple[Staging, ...] = ()
    event: tuple[Event, ...]
    feature: tuple[Feature, ...]

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        if not (self.raw or self.served):
            raise ValueError("declare at least one [raw.NAME] or [served.NAME]")
        if not self.event or not self.feature:
            raise ValueError("declare at least one [[event]] and one [[feature]]")
        names = [f"raw_{name}" for name in self.raw]
        names += [f"served_{name}{part}" for name in self.served for part in ("", "_labels")]
        names += [table.name for table in (*self.staging, *self.event)]
        features = [table.name for table in self.feature]
        twice = sorted(
            {n for n in names if names.count(n) > 1} | {n for n in features if features.count(n) > 1}
        )
        if twice:
            raise ValueError(f"names {twice} are given to more than one table")
        return self


def pipelines_folder(repo: Path) -> Path:
    """Name the folder of a repo's pipelines."""
    return repo / "pipelines"


def read_pipelines(repo: Path) -> PipelineSpec:
    """Read a repo's declaration of its pipelines.

    Raises
    ------
    ConfigError
        With every problem of the file at once: unreadable, broken TOML, wrong or unknown values,
        SQL files that are not there.
    """
    source = pipelines_folder(repo) / "pipelines.toml"
    try:
        spec = PipelineSpec.model_validate(tomllib.loads(source.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise ConfigError(source, ["no such file; it declares raw files, events and features"]) from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(source, [f"cannot be read as TOML: {error}"]) from error
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, found['loc']))}: {found['msg']}" for found in error.errors()]
        raise ConfigError(source, problems) from error
    missing = [
        f"{table.name}: there is no SQL file '{table.sql}'"
        for table in (*spec.staging, *spec.event, *spec.feature)
        if not (source.parent / table.sql).is_file()
    ]
    if missing:
        raise ConfigError(source, missing)
    return spec
