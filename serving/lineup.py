"""The versions of one model that serve at once, and which of them answers a request."""

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import msgspec

from knownat.contract.prediction_log import Role
from knownat.contract.read_plan import ReadPlan
from knownat.errors import ReleaseError
from serving.decoding import OneQuestion
from serving.errors import Gone, UnknownModel
from serving.questions import Question
from serving.served import ServedModel

_HASH_BYTES = 8
_WHOLE = float(1 << 8 * _HASH_BYTES)


@dataclass(frozen=True)
class Lineup:
    """A champion and those beside it. The same request meets the same version, in every worker."""

    name: str
    champion: ServedModel
    challenger: ServedModel | None = None
    challenger_share: float = 0.0
    shadows: tuple[ServedModel, ...] = ()
    pinned: tuple[ServedModel, ...] = ()
    retired: frozenset[str] = frozenset()
    promoted: bool = True
    """Whether somebody let these versions serve."""

    @property
    def models(self) -> tuple[ServedModel, ...]:
        """Every version, the champion first."""
        challenger = () if self.challenger is None else (self.challenger,)
        return (self.champion, *challenger, *self.shadows, *self.pinned)

    def choose(self, question: OneQuestion | Question) -> tuple[ServedModel, Role]:
        """Choose who answers: the challenger for its share of all entities, else the champion.

        The choice is by the entities asked for, so a customer meets the same version each time.
        """
        if self.challenger is not None and _place(self.name, question) < self.challenger_share:
            return self.challenger, Role.CHALLENGER
        return self.champion, Role.CHAMPION

    def version(self, version: str) -> ServedModel:
        """Return the version that was asked for by name.

        Raises
        ------
        Gone
            If it was retired.
        UnknownModel
            If it never served here; the message lists those that do.
        """
        for model in self.models:
            if model.version == version:
                return model
        if version in self.retired:
            raise gone(f"That version of '{self.name}' was retired.", self.name, self.champion.version)
        raise UnknownModel(
            f"No such version of '{self.name}' is served; there are {sorted(m.version for m in self.models)}."
        )


def gone(why: str, model: str, version: str | None) -> Gone:
    """Refuse what served once, and point to what serves now."""
    if version is None:
        return Gone(f"{why} Nothing has taken its place.")
    path = f"/v1/models/{model}/predict"
    refusal = Gone(f"{why} Version {version} serves at {path}.", [{"successor": path, "version": version}])
    refusal.headers = {"link": f'<{path}>; rel="successor-version"'}
    return refusal


def refuse_other_requests(champion: ReadPlan, other: ReadPlan) -> None:
    """Refuse a version that cannot answer every request that the champion can.

    Raises
    ------
    ReleaseError
        If it asks for other keys or inputs; such a version serves pinned, to callers that name it.
    """
    same = champion.request_keys == other.request_keys and champion.client_inputs == other.client_inputs
    if not same or not set(champion.nullable_inputs) <= set(other.nullable_inputs):
        raise ReleaseError(
            "it asks for other keys or inputs than the champion, so it cannot answer the same requests. "
            "Promote it with --role pinned."
        )


def _place(model: str, question: OneQuestion | Question) -> float:
    """Where a request lies between 0 and 1, by its entities alone."""
    keys: Mapping[str, object] = question.keys
    named = msgspec.json.encode([model, *keys.values()])
    return int.from_bytes(blake2b(named, digest_size=_HASH_BYTES).digest(), "big") / _WHOLE
