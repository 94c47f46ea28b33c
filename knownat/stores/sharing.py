"""From a private view to one that others build on: checks first, then one word of its definition."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from feast.feature_view import FeatureView
from feast.types import Float32, Float64, Int32, Int64

from knownat.errors import RepoError
from knownat.stores.added_definition import FOLDER, PRIVATE, SHARING, mark_shared
from knownat.stores.feature_names import unit_of
from knownat.stores.online_rows import key_types
from knownat.stores.repo import Repo, apply_repo, open_repo
from knownat.stores.sources import feature_table, ttl_microseconds, view_keys
from knownat.stores.tables import key_type

MOST_NULL = 0.5
_NUMBERS = (Int32, Int64, Float32, Float64)
_KEYS = {"STRING": pl.String(), "INT64": pl.Int64(), "INT32": pl.Int64()}


@dataclass(frozen=True)
class Candidate:
    """What the checks look at: a view, its rows, and the bound on missing values."""

    repo: Repo
    view: FeatureView
    rows: pl.DataFrame
    most_null: float

    @property
    def event(self) -> str:
        """The column of event times."""
        return feature_table(self.view, self.repo.store.config).event

    @property
    def created(self) -> str | None:
        """The column of created times."""
        return feature_table(self.view, self.repo.store.config).created


Check = Callable[[Candidate], Iterator[str]]


@dataclass(frozen=True)
class Shared:
    """What became of it: shared, or every reason why not."""

    view: str
    problems: tuple[str, ...]
    already: bool = False


def share_view(
    path: Path,
    name: str,
    *,
    most_null: float = MOST_NULL,
    register: Callable[[Path], object] = apply_repo,
) -> Shared:
    """Check a private view and, if nothing is wrong, share it: its definition's tag, then the registry.

    Raises
    ------
    RepoError
        If there is no such view.
    ConfigError
        If its definition cannot be changed.
    """
    repo = open_repo(path)
    view = find_view(repo, name)
    if view.tags.get(SHARING) != PRIVATE:
        return Shared(name, (), already=True)
    problems = tuple(check_view(repo, view, most_null=most_null))
    if problems:
        return Shared(name, problems)
    _rewrite(repo.path, name, register)
    return Shared(name, ())


def check_view(repo: Repo, view: FeatureView, *, most_null: float = MOST_NULL) -> Iterator[str]:
    """Say everything that keeps others from building on a view."""
    table = feature_table(view, repo.store.config)
    # Without the place of each row in its files, by which no two rows would be the same.
    rows = table.rows.select([*dict.fromkeys((*table.keys, *table.times, *table.features))]).collect()
    candidate = Candidate(repo, view, rows, most_null)
    for check in CHECKS:
        yield from check(candidate)


def find_view(repo: Repo, name: str) -> FeatureView:
    """Look a feature view up.

    Raises
    ------
    RepoError
        If there is none of that name.
    """
    views = {
        v.name: v for v in (*repo.store.list_batch_feature_views(), *repo.store.list_stream_feature_views())
    }
    if name not in views:
        raise RepoError(f"There is no feature view '{name}'; the registry has {sorted(views)}.")
    return views[name]


def check_words(candidate: Candidate) -> Iterator[str]:
    """A stranger can tell whose it is and what it means."""
    view = candidate.view
    if "@" not in view.owner:
        yield f"owner '{view.owner}' is no address that somebody could write to"
    if not view.description.strip():
        yield "the view has no description"
    if silent := [feature.name for feature in view.features if not (feature.description or "").strip()]:
        yield f"features {silent} have no description"
    for entity in candidate.repo.store.list_entities():
        if entity.name in view.entities and not entity.description.strip():
            yield f"entity '{entity.name}' has no description"


def check_units(candidate: Candidate) -> Iterator[str]:
    """A number's name says what it counts or measures."""
    for feature in candidate.view.features:
        if feature.dtype in _NUMBERS and unit_of(feature.name) is None:
            yield (
                f"feature '{feature.name}' names no unit; call it e.g. '{feature.name}_count', "
                f"'{feature.name}_eur' or '{feature.name}_days' (add-source --rename, --replace)"
            )


def check_ttl(candidate: Candidate) -> Iterator[str]:
    """Somebody has decided how long a value stays true."""
    view = candidate.view
    if not ttl_microseconds(view) and view.tags.get("ttl") != "forever":
        yield (
            "nobody has said how long a value stays true: set a ttl in its definition, or the tag "
            '"ttl": "forever" if it has none'
        )


def check_known_at(candidate: Candidate) -> Iterator[str]:
    """It is known when each value became known, so that a model cannot learn from what nobody had."""
    created, event, rows = candidate.created, candidate.event, candidate.rows
    if created is None:
        yield (
            "its source has no created time, so every value is taken as known when it happened, which a "
            "model may learn from before anybody had it; name the column with add-source --known-at, or "
            "say --known-after"
        )
    elif rows[created].n_unique() == 1 and rows[event].n_unique() > 1:
        yield (
            f"all rows became known at {rows[created][0].isoformat()}, as if loaded at once: no question "
            "before that finds a value. Say when each became known"
        )


def check_keys(candidate: Candidate) -> Iterator[str]:
    """Its keys have the types of its entities, and every row has them."""
    view, rows = candidate.view, candidate.rows
    for key, declared in key_types(view).items():
        wanted = _KEYS.get(declared.name)
        found = key_type(key, rows.schema[key], where=view.name)
        if wanted != found:
            yield f"key '{key}' is {found} in the table; its entity is {declared.name}"
        if nulls := rows[key].null_count():
            yield f"key '{key}' is null in {nulls} rows, which are nobody's"


def check_nulls(candidate: Candidate) -> Iterator[str]:
    """Its features mostly have values."""
    for feature in candidate.view.features:
        column = candidate.rows[feature.name]
        share = column.null_count() / len(column) if len(column) else 1.0
        if share > candidate.most_null:
            bound = f"{candidate.most_null:.0%} may be"
            yield f"feature '{feature.name}' is null in {share:.0%} of the rows; {bound}"


def check_twins(candidate: Candidate) -> Iterator[str]:
    """Two rows of one key and time do not say different things."""
    keys = [*view_keys(candidate.view), candidate.event, *([candidate.created] if candidate.created else [])]
    different = candidate.rows.unique()
    if twins := different.height - different.unique(subset=keys).height:
        yield f"{twins} rows have the key and the times of another and other values"


CHECKS: Sequence[Check] = (
    check_words,
    check_units,
    check_ttl,
    check_known_at,
    check_keys,
    check_nulls,
    check_twins,
)


def _rewrite(root: Path, name: str, register: Callable[[Path], object]) -> None:
    file = root / FOLDER / f"{name}.py"
    if not file.is_file():
        raise RepoError(f"{file} is not there; take the tag '{SHARING}' from the view where it is defined.")
    before = file.read_text(encoding="utf-8")
    file.write_text(mark_shared(file, before), encoding="utf-8")
    try:
        register(root)
    except BaseException:  # Also an interrupt must not leave a file that was not registered.
        file.write_text(before, encoding="utf-8")
        raise
