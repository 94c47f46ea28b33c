"""One view of the catalogue for a terminal: lines about it, and a row a feature."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from knownat.contract.workspace import Workspace
from knownat.errors import RepoError
from knownat.stores.catalogue import STORED, FeatureEntry, ViewEntry, read_catalogue
from knownat.stores.catalogue_pages import measure_view, say_consumers, say_cost
from knownat.stores.catalogue_search import search
from knownat.stores.feature_facts import Facts, online_marks
from knownat.stores.repo import Repo
from knownat.stores.trained_on import Seen, seen_in_training


@dataclass(frozen=True)
class Page:
    """A view, or one of its features, with what was measured."""

    view: ViewEntry
    features: tuple[FeatureEntry, ...]
    facts: Facts
    seen: Mapping[str, Seen]

    def lines(self) -> Iterator[str]:
        """Say what concerns all features alike."""
        view, facts = self.view, self.facts
        yield f"{view.name} ({view.kind}, {view.sharing}): {view.description or 'no description'}"
        yield f"  owner         {view.owner or 'nobody'}; to tell: {', '.join(view.people) or 'nobody'}"
        if view.entities:
            yield f"  of            {', '.join(view.entities)}, by {', '.join(view.keys)}"
        yield f"  time to live  {view.ttl}"
        yield f"  built on by   {say_consumers(view.consumers) or 'nothing'}"
        if view.kind == STORED:
            yield f"  online up to  {_moment(facts.watermark) or 'not materialized'}"
            newest = f"true at {_moment(facts.newest_event)}, known by {_moment(facts.newest_known)}"
            yield f"  newest row    {newest if facts.newest_event else 'none'}, of {facts.rows:,}"
        yield f"  cost          {say_cost(facts.cost)}"
        yield f"  comes from    {' < '.join(self._origin())}"
        yield f"  definition    {view.place}"
        if facts.problem:
            yield f"  not measured  {facts.problem}"

    def rows(self) -> Iterator[tuple[str, ...]]:
        """Describe each feature: type, unit, window, share of nulls, readers, meaning."""
        for each in self.features:
            users = [user for user in self.view.users_of(each.name) if user.kind != "service"]
            yield (
                each.name,
                each.dtype,
                each.unit or "",
                each.window or "",
                self._nulls(each),
                say_consumers(users),
                each.description,
            )

    def as_json(self) -> dict[str, object]:
        """Lay everything out for ``--json``; the pictures are bars."""
        names = {each.name for each in self.features}
        facts = asdict(self.facts)
        facts["held"] = {name: held for name, held in facts["held"].items() if name in names}
        seen = {
            each.name: asdict(self.seen[each.column]) for each in self.features if each.column in self.seen
        }
        view = asdict(self.view) | {"features": [asdict(each) for each in self.features]}
        return {**view, "people": list(self.view.people), "facts": facts, "seen_in_training": seen}

    def _nulls(self, feature: FeatureEntry) -> str:
        held = self.facts.held.get(feature.name)
        seen = self.seen.get(feature.column)
        parts = [f"{held.null_share:.1%}"] if held else []
        parts += [f"{seen.held.null_share:.1%} in {seen.release}"] if seen else []
        return ", ".join(parts)

    def _origin(self) -> list[str]:
        origin = self.view.origin
        if origin.views or origin.inputs:
            asked = [f"the question's {', '.join(origin.inputs)}"] if origin.inputs else []
            return [", ".join([*origin.views, *asked])]
        steps = [origin.table, origin.sql, ", ".join(origin.events), ", ".join(origin.raw), origin.added_from]
        return [step for step in steps if step]


def find_entry(name: str) -> tuple[str, str]:
    """Take ``view:feature`` apart; the feature is empty for a whole view."""
    view, _, feature = name.partition(":")
    return view, feature


def page_of(repo: Repo, name: str, feature: str = "") -> Page:
    """Look a view, or one of its features, up and measure it.

    Raises
    ------
    RepoError
        If there is none; it says what was perhaps meant.
    """
    catalogue = read_catalogue(repo)
    view = catalogue.view(name)
    chosen = () if view is None else tuple(f for f in view.features if feature in ("", f.name))
    if view is None or not chosen:
        found = search(catalogue, f"{name} {feature}".strip())
        close = [hit.feature.reference for hit in found.hits[:3]] or list(found.did_you_mean)
        hint = f" Did you mean {', '.join(close)}?" if close else " `knownat features list` shows all."
        raise RepoError(f"There is no view or feature '{':'.join(filter(None, (name, feature)))}'.{hint}")
    facts = measure_view(repo, view, online_marks(repo))
    return Page(view, chosen, facts, seen_in_training(Workspace.at(repo.path)))


def _moment(when: datetime | None) -> str:
    return f"{when:%Y-%m-%d %H:%M} UTC" if when else ""
