"""What a model's newest windows ask for together. Deciding only: everything measured comes in.

Retraining follows performance that surely fell on matured labels, or a fault that a new model gets
over and that lasts; never how many features drifted, which is not even an input. A fall beside a
broken pipeline is the pipeline's: a model trained on it would learn the fault.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from knownat.contract.rules import VerdictRules
from knownat.contract.verdict import Action, FaultSeen, Vote


@dataclass(frozen=True)
class Decision:
    """What is asked for, since when, and every reason."""

    action: Action
    since: datetime
    reasons: tuple[str, ...]
    votes: tuple[Vote, ...]
    """The windows that were looked at, oldest first."""


@dataclass(frozen=True)
class _Looked:
    """The windows of one version that count: the newest, and the newest whose labels matured."""

    newest: Vote
    recent: tuple[Vote, ...]
    measured: tuple[Vote, ...]

    @property
    def votes(self) -> tuple[Vote, ...]:
        return tuple(dict.fromkeys([*self.measured, *self.recent]))


def decide(votes: Sequence[Vote], rules: VerdictRules, *, made_at: Sequence[datetime] = ()) -> Decision:
    """Decide what windows ask for, given in order of time and all of one length; at least one.

    ``made_at`` says when releases of the model were made: for ``cooldown_hours`` after each, no other
    one is asked for.
    """
    action, reasons = _decide_now(votes, rules, made_at)
    since = votes[-1].end
    for count in range(len(votes) - 1, 0, -1):
        if _decide_now(votes[:count], rules, made_at)[0] is not action:
            break
        since = votes[count - 1].end
    return Decision(action, since, tuple(reasons), _look(votes, rules).votes)


def _decide_now(
    votes: Sequence[Vote], rules: VerdictRules, made_at: Sequence[datetime]
) -> tuple[Action, list[str]]:
    seen = _look(votes, rules)
    wish = list(_for_retraining(seen, rules))
    if wish:
        held = _held(seen, rules, made_at)
        if held is None:
            return Action.RETRAIN, wish
        return Action.ALERT, [*wish, held]
    alarms = list(_for_alert(seen, rules))
    if alarms:
        return Action.ALERT, alarms
    doubts = [vote for vote in seen.votes if vote.level != "ok"]
    if doubts:
        return Action.WATCH, list(dict.fromkeys(_told(vote) for vote in reversed(doubts)))
    return Action.OK, list(seen.newest.reasons)


def _look(votes: Sequence[Vote], rules: VerdictRules) -> _Looked:
    newest = votes[-1]
    # Windows that an earlier version answered say nothing about this one.
    own = [vote for vote in votes if vote.version == newest.version]
    measured = [vote for vote in own if vote.measured]
    return _Looked(newest, tuple(own[-rules.windows :]), tuple(measured[-rules.windows :]))


def _for_retraining(seen: _Looked, rules: VerdictRules) -> Iterator[str]:
    fell = [vote for vote in seen.measured if vote.fell and not _broken(vote, rules)]
    if len(fell) >= rules.retrain_windows:
        yield (
            f"performance surely fell in {len(fell)} of the {len(seen.measured)} newest windows with labels, "
            f"and no broken data beside it ({rules.retrain_windows} ask for retraining); {_told(fell[-1])}"
        )
    lasting = Counter(
        (fault.kind, fault.subject)
        for vote in seen.recent
        for fault in set(vote.faults)
        if fault.kind in rules.retrain_faults
    )
    for (kind, subject), count in lasting.items():
        if count >= rules.retrain_windows:
            words = kind.replace("_", " ")
            yield f"{subject}: {words} in {count} of the {len(seen.recent)} newest windows, so it stays"


def _held(seen: _Looked, rules: VerdictRules, made_at: Sequence[datetime]) -> str | None:
    """Tell why nothing is trained now though it is wished for."""
    if broken := _broken(seen.newest, rules):
        subjects = ", ".join(dict.fromkeys(fault.subject for fault in broken))
        return f"retraining waits: mend {subjects} first, or the new model learns the fault"
    cooldown, now = timedelta(hours=rules.cooldown_hours), seen.newest.end
    made = max((when for when in made_at if now - cooldown < when <= now), default=None)
    if made is None:
        return None
    until = made + cooldown
    return f"retraining waits until {until:%Y-%m-%d %H:%M}: a release was made at {made:%Y-%m-%d %H:%M}"


def _for_alert(seen: _Looked, rules: VerdictRules) -> Iterator[str]:
    broken = [vote for vote in seen.recent if any(fault.alarming for fault in vote.faults)]
    if len(broken) >= rules.fault_windows:
        yield _counted("broken data", broken, seen.recent)
    fell = [vote for vote in seen.measured if vote.fell]
    if len(fell) >= rules.fall_windows:
        yield _counted("performance surely fell", fell, seen.measured)


def _counted(what: str, found: Sequence[Vote], among: Sequence[Vote]) -> str:
    if len(among) == 1:
        return _told(found[-1])
    return f"{what} in {len(found)} of the {len(among)} newest windows; {_told(found[-1])}"


def _broken(vote: Vote, rules: VerdictRules) -> list[FaultSeen]:
    return [fault for fault in vote.faults if fault.alarming and fault.kind not in rules.retrain_faults]


def _told(vote: Vote) -> str:
    return f"until {vote.end:%Y-%m-%d %H:%M}: {'; '.join(vote.reasons)}"
