"""Which version was champion when, read from the history of promotions."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from pydantic import JsonValue

from knownat.contract.prediction_log import Role
from knownat.contract.release import Deployed
from knownat.errors import ReleaseError

Line = Mapping[str, JsonValue]


def champion_at(history: Sequence[Line], model: str, when: datetime) -> Deployed | None:
    """Tell which version was champion at a time; None before the first, and once the model was retired."""
    found: Deployed | None = None
    for line in _of(history, model):
        if datetime.fromisoformat(str(line["at"])) > when:
            break
        if line["role"] == Role.CHAMPION:
            found = _deployed(line)
        elif _retires_the_model(line):
            found = None
    return found


def earlier_champion(history: Sequence[Line], model: str) -> Deployed:
    """Tell which champion a rollback goes back to; each rollback undoes one promotion.

    Raises
    ------
    ReleaseError
        If there is none, or the model was taken out of service.
    """
    line_of_champions: list[Deployed] = []
    serves = True
    for line in _of(history, model):
        if line["role"] != Role.CHAMPION:
            serves = serves and not _retires_the_model(line)
            continue
        serves = True
        if line.get("rollback"):
            line_of_champions.pop()
        elif not line_of_champions or line_of_champions[-1].version != line["version"]:
            line_of_champions.append(_deployed(line))
    if not serves:
        raise ReleaseError(f"'{model}' was taken out of service. Promote a version by its name.")
    if len(line_of_champions) < 2:
        raise ReleaseError(f"No champion of '{model}' came before this one. Promote a version by its name.")
    return line_of_champions[-2]


def _retires_the_model(line: Line) -> bool:
    return line["role"] == "retired" and line["version"] is None


def _of(history: Sequence[Line], model: str) -> Iterator[Line]:
    return (line for line in history if line.get("model") == model)


def _deployed(line: Line) -> Deployed:
    return Deployed(version=str(line["version"]), digest=str(line["digest"]))
