"""What may be pushed: each push source, the views it feeds, and what lies in their rows.

``knownat apply`` writes ``data/push_sources.json`` in the repo, so that a scorer can check and encode a
pushed row without the registry, and without Feast.
"""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from knownat.errors import ConfigError


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PushField(_Frozen):
    """A key or a feature of a view, and its packed type."""

    name: str
    dtype: str


class PushView(_Frozen):
    """One view's row: its keys, its features, and the columns that hold its times."""

    name: str
    keys: tuple[PushField, ...]
    features: tuple[PushField, ...]
    event: str
    created: str | None
    """None where a row is known when it happens."""

    @property
    def columns(self) -> dict[str, str]:
        """Every column of a pushed row that goes into this view, with its packed type."""
        times = {name: "timestamp" for name in (self.event, self.created) if name}
        return {field.name: field.dtype for field in (*self.keys, *self.features)} | times

    @property
    def required(self) -> frozenset[str]:
        """The columns that may hold no null."""
        return frozenset({key.name for key in self.keys} | {self.event} | ({self.created or self.event}))


class PushSource(_Frozen):
    """The views that one source feeds; a pushed row has the columns of all of them."""

    views: Annotated[tuple[PushView, ...], Field(min_length=1)]

    @property
    def columns(self) -> list[str]:
        """Every column of a pushed row, each once."""
        return list(dict.fromkeys(name for view in self.views for name in view.columns))


class PushPlan(_Frozen):
    """Every push source of a repo, by name."""

    format: Literal[1] = 1
    project: str
    sources: Mapping[str, PushSource]


def read_push_plan(path: Path) -> PushPlan | None:
    """Read what may be pushed; none where the repo was never applied by knownat.

    Raises
    ------
    ConfigError
        If the file is there but cannot be read.
    """
    try:
        return PushPlan.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise ConfigError(path, [f"cannot be read ({type(error).__name__}); run knownat apply"]) from None


def write_push_plan(path: Path, plan: PushPlan) -> None:
    """Replace what may be pushed, atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with staged.open("w", encoding="utf-8") as file:
        file.write(plan.model_dump_json(indent=2) + "\n")
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
