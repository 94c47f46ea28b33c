"""What differs between two outlines of a repo, change by change, and what each does to whoever reads it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from knownat.clock import span
from knownat.stores.outlines import Outline, ServiceOutline, ViewOutline


class What(StrEnum):
    """What became different."""

    VIEW_REMOVED = "view removed"
    VIEW_ADDED = "view added"
    FIELD_REMOVED = "field removed"
    FIELD_RENAMED = "field renamed"
    FIELD_ADDED = "field added"
    TYPE = "type"
    KEYS = "keys"
    TTL = "ttl"
    ONLINE = "online"
    BODY = "body"
    INPUTS = "inputs"
    SOURCE = "source"
    TABLE = "table"
    OWNER = "owner"
    SERVICE_REMOVED = "service removed"
    SERVICE_ADDED = "service added"
    COLUMNS = "service columns"


BREAKING: Mapping[What, str] = {
    What.VIEW_REMOVED: "its rows are written no more, and the release goes on reading them",
    What.FIELD_REMOVED: "it is written no more, and the release goes on reading it",
    What.FIELD_RENAMED: "the old name is written no more, and the release goes on reading it",
    What.TYPE: "new rows hold another type than the release was trained on",
    What.KEYS: "rows are written under other keys than the release asks for",
    What.ONLINE: "its online rows are written no more",
    What.TTL: "the release serves with its own; training, reproduction and skew go by this one",
    What.BODY: "the release serves its own; training, reproduction and skew go by this one",
    What.INPUTS: "the release serves with its own; training and skew ask for these",
    What.SERVICE_REMOVED: "the release can be neither compared, reproduced nor trained again",
}
"""What breaks a release that reads it, and how."""

SILENT = frozenset({What.VIEW_ADDED, What.FIELD_ADDED, What.SERVICE_ADDED, What.OWNER})
"""What changes no value that anybody reads."""


@dataclass(frozen=True)
class Change:
    """One difference; ``name`` is that of a view or service, ``field`` that of one of its fields or none."""

    what: What
    name: str
    field: str = ""
    before: str = ""
    after: str = ""

    @property
    def subject(self) -> str:
        """Name what changed as ``view:field``, or as the view or service."""
        return f"{self.name}:{self.field}" if self.field else self.name

    @property
    def of_service(self) -> bool:
        """Whether ``name`` is a feature service's."""
        return self.what in (What.SERVICE_REMOVED, What.SERVICE_ADDED, What.COLUMNS)


def compare_outlines(before: Outline, after: Outline) -> list[Change]:
    """List every difference, views first, in the order of their names."""
    return [*_views(before.views, after.views), *_services(before.services, after.services)]


def _views(before: Mapping[str, ViewOutline], after: Mapping[str, ViewOutline]) -> Iterator[Change]:
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was is None:
            yield Change(What.VIEW_ADDED, name)
        elif now is None or now.kind != was.kind:
            yield Change(What.VIEW_REMOVED, name, before=was.kind, after="" if now is None else now.kind)
        else:
            yield from _view(was, now)


def _view(was: ViewOutline, now: ViewOutline) -> Iterator[Change]:
    yield from _fields(was, now)
    pairs = (
        (What.KEYS, _listed(was.keys), _listed(now.keys)),
        (What.TTL, _duration(was.ttl_us), _duration(now.ttl_us)),
        (What.ONLINE, _yes(was.online), _yes(now.online)),
        (What.BODY, was.body, now.body),
        (What.INPUTS, ", ".join(was.inputs), ", ".join(now.inputs)),
        (What.SOURCE, _listed(was.source), _listed(now.source)),
        (What.OWNER, was.owner, now.owner),
    )
    for what, old, new in pairs:
        # To be written online at last takes nothing from anybody.
        if old == new or (what is What.ONLINE and now.online):
            continue
        told = (_lines_only_in(old, new), _lines_only_in(new, old)) if what is What.BODY else (old, new)
        yield Change(what, was.name, before=told[0], after=told[1])


def _fields(was: ViewOutline, now: ViewOutline) -> Iterator[Change]:
    gone = [name for name in was.fields if name not in now.fields]
    new = [name for name in now.fields if name not in was.fields]
    # One of a type for another of that type is most likely the same thing under another name.
    alone = len(gone) == len(new) == 1 and was.fields[gone[0]] == now.fields[new[0]]
    if alone:
        yield Change(What.FIELD_RENAMED, was.name, gone[0], before=gone[0], after=new[0])
    else:
        yield from (Change(What.FIELD_REMOVED, was.name, name, before=was.fields[name]) for name in gone)
        yield from (Change(What.FIELD_ADDED, was.name, name, after=now.fields[name]) for name in new)
    for name, kind in was.fields.items():
        if now.fields.get(name, kind) != kind:
            yield Change(What.TYPE, was.name, name, before=kind, after=now.fields[name])


def _services(before: Mapping[str, ServiceOutline], after: Mapping[str, ServiceOutline]) -> Iterator[Change]:
    for name in sorted(before.keys() | after.keys()):
        was, now = before.get(name), after.get(name)
        if was is None:
            yield Change(What.SERVICE_ADDED, name)
        elif now is None:
            yield Change(What.SERVICE_REMOVED, name)
        elif was.columns != now.columns:
            gone = [column for column in was.columns if column not in now.columns]
            new = [column for column in now.columns if column not in was.columns]
            yield Change(What.COLUMNS, name, before=", ".join(gone), after=", ".join(new))


def _lines_only_in(one: str, other: str) -> str:
    return " ".join(line.strip() for line in one.splitlines() if line not in other.splitlines())


def _listed(parts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value)


def _duration(microseconds: int) -> str:
    return span(timedelta(microseconds=microseconds)) if microseconds else "for ever"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
