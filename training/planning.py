"""Before a change of definitions lands: whom it touches, what it breaks, and what it does to scores."""

import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from knownat.contract.model_spec import model_names, read_spec
from knownat.contract.workspace import Workspace
from knownat.stores.definition_changes import BREAKING, SILENT, Change, What, compare_outlines
from knownat.stores.history import historical_frame
from knownat.stores.outlines import Outline, outline
from knownat.stores.proposal import lay_out_proposal
from knownat.stores.repo import open_repo
from training.options import Report
from training.touching import Served, reads, served_releases, touched_owners, touched_services
from training.traffic import Effect, Join, Recent, measure_effect


@dataclass(frozen=True)
class Touched:
    """One change and everybody it touches."""

    change: Change
    releases: tuple[str, ...]
    """Those that serve and read what changed, by model, version and role."""
    services: tuple[str, ...]
    models: tuple[str, ...]
    """Declared on those services, released or not."""
    owners: tuple[str, ...]
    breaks: bool
    allowed: bool = False
    """Looked at, and let pass."""

    def as_json(self) -> dict[str, object]:
        """Lay the line out for ``--json``."""
        line = asdict(self.change) | {"subject": self.change.subject}
        return {**line, **{k: v for k, v in asdict(self).items() if k != "change"}}


@dataclass(frozen=True)
class Plan:
    """Every change, and what the answers of each release that reads one of them would become."""

    changes: tuple[Touched, ...] = ()
    effects: dict[str, Effect] = field(default_factory=dict)

    @property
    def breaks(self) -> bool:
        """Whether something breaks that nobody let pass; what cannot be scored any more is broken too."""
        allowed = {title for each in self.changes if each.breaks and each.allowed for title in each.releases}
        broken = {title for title, effect in self.effects.items() if effect.fails}
        return any(each.breaks and not each.allowed for each in self.changes) or bool(broken - allowed)

    def as_json(self) -> dict[str, object]:
        """Lay the plan out for ``--json``."""
        return {
            "breaks": self.breaks,
            "changes": [each.as_json() for each in self.changes],
            "releases": {title: asdict(effect) for title, effect in self.effects.items()},
        }


def make_plan(
    workspace: Workspace, *, recent: Recent | None, allowed: Collection[What] = (), progress: Report
) -> Plan:
    """Compare what a repo's files define with its registry, and ask recent questions in both worlds.

    Nothing live is changed. Without ``recent`` no question is asked.

    Raises
    ------
    ConfigError, RepoError
        If the files cannot be applied, the pipelines cannot be run, or there is no registry yet.
    ReleaseError
        If a release that serves was changed since it was promoted.
    """
    served = served_releases(workspace)
    live = open_repo(workspace.repo)
    progress("register the files apart", 0, 0)
    with (
        tempfile.TemporaryDirectory(prefix="knownat-plan-") as scratch,
        lay_out_proposal(
            workspace.repo, scratch=Path(scratch), progress=lambda name: progress(f"table {name}", 0, 0)
        ) as proposal,
    ):
        before, after = outline(live), outline(proposal.repo)
        changes = [*compare_outlines(before, after), *changed_tables(proposal.tables, before, after)]
        reach = Reach(served, before, after, _models_by_service(workspace), frozenset(allowed))
        worlds = (partial(historical_frame, live), partial(historical_frame, proposal.repo))
        moved = releases_to_ask(served, changes)
        effects = {} if recent is None else _measure(workspace, moved, recent, worlds, progress)
    return Plan(tuple(map(reach.touch, changes)), effects)


def _measure(
    workspace: Workspace, served: Sequence[Served], recent: Recent, worlds: tuple[Join, Join], report: Report
) -> dict[str, Effect]:
    effects, (before, after) = {}, worlds
    for each in served:
        report(f"ask {each.title} again", 0, 0)
        effects[each.title] = measure_effect(workspace, each.release, recent, before=before, after=after)
    return effects


@dataclass(frozen=True)
class Reach:
    """Everybody there is to touch."""

    served: Sequence[Served]
    before: Outline
    after: Outline
    models: Mapping[str, Mapping[str, str]]
    allowed: frozenset[What]

    def touch(self, change: Change) -> Touched:
        """Tell whom one change touches."""
        readers = [each for each in self.served if reads(each.plan, change)]
        services = touched_services(change, self.before, self.after)
        models = {name: owner for s in services for name, owner in self.models.get(s, {}).items()}
        owners = touched_owners(change, services, self.before, self.after) | set(models.values())
        return Touched(
            change=change,
            releases=tuple(each.title for each in readers),
            services=tuple(sorted(services)),
            models=tuple(sorted(models)),
            owners=tuple(sorted(owners | {each.release.manifest.spec.owner for each in readers})),
            breaks=change.what in BREAKING and bool(readers),
            allowed=change.what in self.allowed,
        )


def releases_to_ask(served: Sequence[Served], changes: Sequence[Change]) -> list[Served]:
    """Pick the releases that read something whose values may be others."""
    telling = [change for change in changes if change.what not in SILENT]
    return [each for each in served if any(reads(each.plan, change) for change in telling)]


def changed_tables(tables: Mapping[str, tuple[str, str]], before: Outline, after: Outline) -> list[Change]:
    """Name the views that read a table which the pipelines would make otherwise."""
    return [
        Change(What.TABLE, name, before=was, after=now)
        for table, (was, now) in tables.items()
        for name in sorted(before.views.keys() & after.views.keys())
        if PurePosixPath(after.views[name].source.get("path", "")).stem == table
    ]


def _models_by_service(workspace: Workspace) -> dict[str, dict[str, str]]:
    """Map each feature service to the models declared on it, with their owners."""
    found: dict[str, dict[str, str]] = {}
    for name in model_names(workspace.models):
        spec = read_spec(workspace.model_file(name))
        found.setdefault(spec.feature_service, {})[name] = spec.owner
    return found
