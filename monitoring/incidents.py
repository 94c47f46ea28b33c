"""``incidents.toml``: what people know happened, to stand beside what was measured.

One table an incident, in the feature repo, so that it is kept and reviewed with the definitions::

    [[incident]]
    start = 2013-11-27T12:00:00Z
    end = 2013-11-28T06:00:00Z
    models = ["late_arrival"]
    text = "Ice storm; the airport was closed for five hours."
"""

import json
import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from monitoring.files import alone_in, replace_text
from monitoring.windows import Window

FILE = "incidents.toml"


class Incident(BaseModel):
    """Something that happened to the world or the pipeline, whatever the numbers say."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    start: datetime
    end: datetime | None = None
    models: tuple[str, ...] = ()
    """Which models it concerns; all of them if none is named."""
    text: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _times_are_aware_and_in_order(self) -> Self:
        if self.start.tzinfo is None or (self.end is not None and self.end.tzinfo is None):
            raise ValueError("start and end need a time zone; write 2013-11-27T12:00:00Z")
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"it ends at {self.end}, not after its start at {self.start}")
        return self

    def concerns(self, model: str) -> bool:
        """Whether it is shown on a model's page."""
        return not self.models or model in self.models

    def touches(self, window: Window) -> bool:
        """Whether any of it falls into a window."""
        return self.start < window.end and (self.end or self.start) >= window.start


def incidents_file(workspace: Workspace) -> Path:
    """Where the incidents are written down."""
    return workspace.repo / FILE


def read_incidents(workspace: Workspace) -> list[Incident]:
    """Read all incidents, oldest first; none without a file.

    Raises
    ------
    ConfigError
        With every problem of the file at once.
    """
    path = incidents_file(workspace)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(path, [f"cannot be read as TOML: {error}"]) from error
    problems = [
        f"'{name}' is unknown; each incident is an [[incident]]" for name in table if name != "incident"
    ]
    found = []
    listed = table.get("incident", [])
    for number, each in enumerate(listed if isinstance(listed, list) else [listed], start=1):
        try:
            found.append(Incident.model_validate(each))
        except ValidationError as error:
            problems += [
                f"incident {number}: {'.'.join(map(str, e['loc']))} {e['msg']}".replace("  ", " ")
                for e in error.errors(include_url=False)
            ]
    if problems:
        raise ConfigError(path, problems)
    return sorted(found, key=lambda incident: incident.start)


def mark_incident(workspace: Workspace, incident: Incident) -> Path:
    """Append an incident to the file; what people wrote there stays as it is.

    Raises
    ------
    ConfigError
        If the file cannot be used as it is: nothing is added to it then.
    """
    path = incidents_file(workspace)
    with alone_in(workspace.reports):
        read_incidents(workspace)
        before = path.read_text(encoding="utf-8") if path.is_file() else ""
        replace_text(
            path, before + ("" if not before or before.endswith("\n") else "\n") + _as_toml(incident)
        )
    return path


def _as_toml(incident: Incident) -> str:
    lines = ["[[incident]]", f"start = {_moment(incident.start)}"]
    lines += [f"end = {_moment(incident.end)}"] if incident.end else []
    # TOML's basic strings take the escapes of JSON.
    lines += [f"models = {json.dumps(list(incident.models))}"] if incident.models else []
    lines += [f"text = {json.dumps(incident.text, ensure_ascii=False)}"]
    return "\n".join([*lines, "", ""])


def _moment(when: datetime) -> str:
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")
