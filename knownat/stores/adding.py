"""Add a CSV to a feature repo: its rows as a table, its meaning as a definition file, both or neither."""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from knownat.clock import span
from knownat.errors import ConfigError
from knownat.stores.added_definition import (
    FOLDER,
    SHARED,
    KnownEntity,
    Words,
    definition_files,
    find_entities,
    sharing_of,
    write_definition,
)
from knownat.stores.added_source import CREATED, EVENT, Choices, Proposed, Question, feature_name, propose
from knownat.stores.csv_text import read_csv_text
from knownat.stores.definitions import find_definitions
from knownat.stores.feature_tables import write_sorted
from knownat.stores.repo import apply_repo
from knownat.stores.settings import settings_file

_OWNER = re.compile(r"[^@\s]+@[^@\s]+")
_TTL = re.compile(r"[1-9][0-9]*[dhms]|forever|")


class NeedsAnswers(ConfigError):
    """The file does not say everything; each question names the option that answers it."""

    def __init__(self, source: object, questions: Sequence[Question]) -> None:
        super().__init__(source, [f"{question.text} Say {question.option}." for question in questions])
        self.questions = tuple(questions)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be added, and as what."""

    file: Path
    owner: str = ""
    view: str = ""
    """Its name; by default the owner's, then the file's."""
    choices: Choices = field(default_factory=Choices)
    separator: str | None = None
    nulls: tuple[str, ...] = ()
    description: str = ""
    descriptions: Mapping[str, str] = field(default_factory=dict)
    """Of features, by column or by feature."""
    ttl: str = ""
    replace: bool = False
    command: Sequence[str] = ()


@dataclass(frozen=True)
class Added:
    """What was added; ``remarks`` say what was done to the rows and what is left to do."""

    view: str
    owner: str
    keys: Mapping[str, str]
    features: Mapping[str, str]
    rows: int
    event_time: str
    known: str
    table: Path
    definition: Path
    remarks: tuple[str, ...]


def add_source(repo: Path, request: Request, *, register: Callable[[Path], object] = apply_repo) -> Added:
    """Add a CSV to a repo as a private feature view, and register it.

    Its rows become a Parquet table in exact microseconds, its meaning a definition file in the repo.
    If anything is wrong nothing is left behind, and every problem is named at once, rows by their line.

    Raises
    ------
    NeedsAnswers
        If the file does not say what its columns mean.
    ConfigError
        If the file, a name or a choice cannot be used as it is.
    RepoError
        If the repo cannot be applied.
    """
    repo = repo.resolve()
    if not settings_file(repo).is_file():
        raise ConfigError(repo, ["has no feature_store.yaml; name the feature repo with --repo"])
    entities = find_entities(repo)
    text = read_csv_text(request.file, separator=request.separator, nulls=request.nulls)
    found = propose(text, request.choices, {key: entity.type for key, entity in entities.items()})
    view = request.view or feature_name(f"{request.owner.split('@')[0]}_{request.file.stem}")
    problems = [*_misspelt(request, view), *_taken(repo, view, replace=request.replace)]
    problems += [] if isinstance(found, Proposed) else found.problems
    if problems:
        raise ConfigError(request.file, problems)
    questions = [] if isinstance(found, Proposed) else [*found.questions]
    if not request.owner:
        questions.append(Question("--owner", "Whose source is it (an e-mail address)?"))
    if questions or not isinstance(found, Proposed):
        raise NeedsAnswers(request.file, questions)
    words = _words(request, view, found)
    table, definition = repo / "data" / f"{view}.parquet", repo / FOLDER / f"{view}.py"
    content = _definition(found, request, words, entities, table=table, file=definition)
    with _kept_if_it_fails(table, definition):
        write_table(found, table)
        definition.parent.mkdir(exist_ok=True)
        definition.write_text(content, encoding="utf-8")
        register(repo)
    return _describe(found, words, entities, table, definition)


def _misspelt(request: Request, view: str) -> Iterator[str]:
    if request.owner and not _OWNER.fullmatch(request.owner):
        yield f"--owner '{request.owner}' is no address; write ana@example.org"
    if not _TTL.fullmatch(request.ttl):
        yield f"--ttl '{request.ttl}' is no span; write 30d, 12h, 90m, 45s or forever"
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", view):
        yield f"--name '{view}' is no view's name; write lower case words joined by one underscore"


def _taken(repo: Path, view: str, *, replace: bool) -> Iterator[str]:
    own = repo / FOLDER / f"{view}.py"
    others = [file for file in definition_files(repo) if file != own]
    for found in find_definitions(others, repo):
        if (
            found.definition
            and found.definition.kind in ("feature view", "on-demand view")
            and found.definition.name == view
        ):
            yield f"a view '{view}' is defined at {found.place}; choose another name with --name"
            return
    table = repo / "data" / f"{view}.parquet"
    if own.exists() and not replace:
        yield f"'{view}' was added before ({own}); say --replace, or choose another name with --name"
    elif table.exists() and not own.exists():
        yield f"{table} is another source's table; choose another name with --name"


def write_table(found: Proposed, path: Path) -> None:
    """Write the rows as Parquet, times in exact microseconds."""
    rows = _as_arrow(found).to_reader()
    write_sorted(path, rows, name=path.stem, never_null=[*found.keys, EVENT])


def _as_arrow(found: Proposed) -> pa.Table:
    rows = found.rows if found.has_created else found.rows.drop(CREATED)
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    plain = [f.with_type(pa.string()) if pa.types.is_large_string(f.type) else f for f in table.schema]
    return table.cast(pa.schema(plain))


def _definition(
    found: Proposed,
    request: Request,
    words: Words,
    entities: Mapping[str, KnownEntity],
    *,
    table: Path,
    file: Path,
) -> str:
    """Write the definition, or keep one that may have been edited, where only its rows are new."""
    if not file.exists():
        return write_definition(found, words, entities)
    before = file.read_text(encoding="utf-8")
    same = table.exists() and pq.read_schema(table).equals(_as_arrow(found).schema)
    if same and not (request.description or request.descriptions or request.ttl):
        return re.sub(r"sha256 [0-9a-f]{16}", f"sha256 {words.sha256[:16]}", before)
    if sharing_of(before) == SHARED:
        reason = (
            f"'{words.view}' is shared and others build on it: its rows can be replaced, by the same columns "
            f"of the same types; its words are changed in {file}"
        )
        raise ConfigError(request.file, [reason])
    return write_definition(found, words, entities)


@contextmanager
def _kept_if_it_fails(*files: Path) -> Iterator[None]:
    """Put files back as they were if what is done with them fails."""
    before = {file: file.read_bytes() if file.exists() else None for file in files}
    try:
        yield
    except BaseException:  # Also an interrupt must leave all files as they were.
        for file, content in before.items():
            if content is None:
                file.unlink(missing_ok=True)
            else:
                file.write_bytes(content)
        raise


def _words(request: Request, view: str, found: Proposed) -> Words:
    by_feature = {
        name: request.descriptions.get(name, request.descriptions.get(column, ""))
        for name, column in found.columns.items()
    }
    if unknown := sorted(set(request.descriptions) - {*found.columns, *found.columns.values()}):
        raise ConfigError(
            request.file, [f"--describe names {unknown}; the features are {list(found.columns)}"]
        )
    return Words(
        view=view,
        owner=request.owner,
        description=request.description,
        descriptions=by_feature,
        ttl=request.ttl,
        file=request.file.name,
        sha256=hashlib.sha256(request.file.read_bytes()).hexdigest(),
        command=request.command,
    )


def _describe(
    found: Proposed, words: Words, entities: Mapping[str, KnownEntity], table: Path, definition: Path
) -> Added:
    remarks = list(found.remarks)
    if found.known_at:
        known = f"column '{found.known_at}'"
    elif found.known_after:
        known = f"{span(found.known_after)} after '{found.event_time}'"
    else:
        known = "taken as known when it happened"
        remarks.append(
            "no column says when a row became known, so each is taken as known when it happened; if it was "
            "known later, a model would learn from what nobody had: name the column with --known-at"
        )
    remarks += [
        f"entity '{key}' is new: describe it in {definition}" for key in found.keys if key not in entities
    ]
    return Added(
        view=words.view,
        owner=words.owner,
        keys=dict(found.keys),
        features={name: str(found.rows.schema[name]) for name in found.columns},
        rows=found.rows.height,
        event_time=found.event_time,
        known=known,
        table=table,
        definition=definition,
        remarks=tuple(remarks),
    )
