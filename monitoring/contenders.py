"""Which other versions scored what the champion could have answered, and their scores side by side.

A shadow scored the very questions the champion answered. A challenger answered other entities', so
each of the two is asked, after the fact, for the other's rows: from the features that were logged.
"""

from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from knownat.contract.log_reader import read_predictions, version_folders
from knownat.contract.prediction_log import Role, logged_scores
from knownat.contract.release import Release, read_release
from knownat.contract.workspace import Workspace
from knownat.errors import ReleaseError
from monitoring.contest import CHAMPION, CONTENDER, Contest
from monitoring.metrics import Floats
from monitoring.rescoring import Rescorer
from monitoring.windows import Window

_EVER = datetime(1970, 1, 1, tzinfo=UTC)
_COLUMNS = ["prediction_id", "event_timestamp", CHAMPION, CONTENDER]


def find_contests(workspace: Workspace, champion: Release, window: Window) -> list[Contest]:
    """Put every version that answered as challenger or shadow in the window beside the champion.

    Each contest has all their common rows up to the window's end, not the window's alone.

    Raises
    ------
    LogError
        If a file of the log is damaged beyond its tail.
    """
    root, model = workspace.predictions, champion.manifest.model
    found = []
    for folder in version_folders(root, model):
        if folder.name == champion.manifest.version:
            continue
        inside = read_predictions(root, model, start=window.start, end=window.end, version=folder.name)
        roles = set(inside["role"].to_pylist()) & {Role.CHALLENGER.value, Role.SHADOW.value}
        if roles:
            found += list(_contests(workspace, champion, folder.name, sorted(roles), window.end))
    return found


def _contests(
    workspace: Workspace, champion: Release, version: str, roles: list[str], until: datetime
) -> Iterator[Contest]:
    root, model, ours = workspace.predictions, champion.manifest.model, champion.manifest.version
    theirs = read_predictions(root, model, start=_EVER, end=until, version=version)
    for role in roles:
        answered = theirs.filter(pc.equal(theirs["role"], role))
        since = answered["event_timestamp"][0].as_py()
        own = read_predictions(root, model, start=since, end=until, version=ours)
        own = own.filter(pc.equal(own["role"], Role.CHAMPION.value))
        if role == Role.SHADOW and champion.plan.classes:
            # Lists of shares cannot be joined; scored again from the logged features they are the same.
            yield _rescored(workspace, champion, version, own, answered.slice(0, 0), role=role)
        elif role == Role.SHADOW:
            yield Contest(ours, version, role, _same_questions(own, answered))
        else:
            yield _rescored(workspace, champion, version, own, answered)


def _same_questions(own: pa.Table, shadow: pa.Table) -> pa.Table:
    """Join a shadow's rows to the champion's of the same time, keys and inputs, whose labels they share."""
    asked = ["event_timestamp", *(n for n in own.column_names if n.startswith(("key__", "input__")))]
    asked = [name for name in asked if name in shadow.column_names]
    mine = own.select(["prediction_id", "score", *asked]).rename_columns(["prediction_id", CHAMPION, *asked])
    scored = shadow.select(["score", *asked]).rename_columns([CONTENDER, *asked])
    # A question asked twice within one request has one answer; a null key equals none in a join.
    scored = scored.group_by(asked).aggregate([(CONTENDER, "min")])
    scored = scored.rename_columns([CONTENDER if n == f"{CONTENDER}_min" else n for n in scored.column_names])
    filled = [name for name in asked if mine[name].null_count or scored[name].null_count]
    for name in filled:
        mine, scored = (_null_as_text(table, name) for table in (mine, scored))
    return mine.join(scored, asked, join_type="inner").select(_COLUMNS)


def _column(scores: Floats) -> pa.Array:
    return pa.array(scores if scores.ndim == 1 else scores.tolist())


def _null_as_text(table: pa.Table, name: str) -> pa.Table:
    text = pc.fill_null(pc.binary_join_element_wise("=", pc.cast(table[name], pa.string()), ""), "null")
    return table.set_column(table.column_names.index(name), name, text)


def _rescored(
    workspace: Workspace,
    champion: Release,
    version: str,
    own: pa.Table,
    answered: pa.Table,
    *,
    role: str = Role.CHALLENGER.value,
) -> Contest:
    ours = champion.manifest.version
    nothing = own.slice(0, 0).select(_COLUMNS[:2])
    nothing = nothing.append_column(CHAMPION, own["score"].slice(0, 0)).append_column(
        CONTENDER, own["score"].slice(0, 0)
    )
    try:
        contender = read_release(workspace.releases / champion.manifest.model / version)
    except ReleaseError as error:
        return Contest(ours, version, role, nothing, f"its release cannot be read: {error}")
    parts, notes = [], []
    for rows, scored, other, name in (
        (own, CHAMPION, contender, CONTENDER),
        (answered, CONTENDER, champion, CHAMPION),
    ):
        lacking = [n for n in other.manifest.feature_schema.names if n not in rows.column_names]
        if lacking:
            who = other.manifest.version
            notes.append(f"{len(rows):,} rows lack {len(lacking)} columns of {who}, such as {lacking[0]}")
        elif rows.num_rows:
            again = Rescorer(other).score(rows)
            said = rows.select(["prediction_id", "event_timestamp"])
            both = said.append_column(scored, _column(logged_scores(rows))).append_column(
                name, _column(again)
            )
            parts.append(both.select(_COLUMNS))
    note = "; ".join(notes)
    if notes:
        note += "; run it as a shadow to compare it on the same rows"
    return Contest(
        ours, version, role, pa.concat_tables(parts, promote_options="default") if parts else nothing, note
    )
