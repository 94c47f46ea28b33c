"""A regression case: what one prediction was fed, and what a release should say of it.

``<repo>/models/cases/<model>/<id>.json``, kept with the code. It holds no entity keys: what was fed is
enough to score it again.
"""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from knownat.contract.feedback import Bundle, FeedbackId, Value
from knownat.errors import ConfigError

FOLDER = "cases"


class Case(BaseModel):
    """One row that every later release is asked about."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    format: Literal[1] = 1
    id: FeedbackId
    model: str
    why: str
    version: str
    """The release that was found odd, and the score it gave."""
    score: float
    inputs: Mapping[str, Value]
    features: Mapping[str, Value]
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _bounds_leave_room(self) -> Self:
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"no score is at least {self.at_least} and at most {self.at_most}")
        return self

    def allows(self, score: float) -> bool:
        """Whether a score lies within the bounds; without bounds any does."""
        return (self.at_least is None or score >= self.at_least) and (
            self.at_most is None or score <= self.at_most
        )


def case_of(bundle: Bundle, *, why: str | None, at_least: float | None, at_most: float | None) -> Case:
    """Make a case of a bundle; without a reason of its own it has the user's comment.

    Raises
    ------
    ConfigError
        If no score could lie within the bounds.
    """
    try:
        return Case(
            id=bundle.feedback_id,
            model=bundle.model,
            why=why or bundle.comment,
            version=bundle.version,
            score=bundle.score,
            inputs=bundle.inputs,
            features=bundle.features,
            at_least=at_least,
            at_most=at_most,
        )
    except ValidationError as error:
        raise ConfigError("--at-least, --at-most", [e["msg"] for e in error.errors()]) from error


def keep_case(models: Path, case: Case) -> Path:
    """Write a case beside the models' declarations, in the place of an older one of its id."""
    path = models / FOLDER / case.model / f"{case.id}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    text = json.dumps(json.loads(case.model_dump_json()), indent=2, sort_keys=True) + "\n"
    with staged.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    staged.replace(path)
    return path


def read_cases(models: Path, model: str) -> list[Case]:
    """Read a model's cases, by id.

    Raises
    ------
    ConfigError
        If one cannot be read, or is of another model.
    """
    cases = []
    for path in sorted((models / FOLDER / model).glob("*.json")):
        try:
            case = Case.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise ConfigError(
                path, ["cannot be read as a case; keep it again: knownat feedback keep"]
            ) from error
        if (case.model, case.id) != (model, path.stem):
            raise ConfigError(path, [f"is case {case.id} of '{case.model}'; move it there"])
        cases.append(case)
    return cases
