"""What a read plan decodes, beside what Feast's own ``get_online_features`` says of the same entities.

The scorer reads by the plan alone, so this runs when a release is built and in ``knownat doctor``:
a plan that names a wrong key, view or type shows here, with the value on either side.
"""

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
from feast import FeatureService
from feast.infra.online_stores.online_store import OnlineStore
from feast.repo_config import RepoConfig

from knownat.clock import Clock, FixedClock, to_us
from knownat.contract.read_plan import PlanView, ReadPlan, ReadResult, Status
from knownat.errors import OnlineStoreError, RepoError
from knownat.stores.materialization import watermarks
from knownat.stores.online import open_reader
from knownat.stores.packed_online import PackedOnlineStore
from knownat.stores.repo import Repo
from knownat.stores.services import ServiceView, take_apart
from knownat.stores.sources import feature_table

_log = logging.getLogger(__name__)

ENTITIES_A_VIEW = 20
_EXAMPLES = 100
_PLACES_IN_A_TABLE = 10
_SHOWN = 20

Columns = Mapping[str, Sequence[object]]


@dataclass(frozen=True)
class Difference:
    """One value that the plan and Feast give differently."""

    view: str
    feature: str
    key: Mapping[str, object]
    plan: object
    feast: object

    def __str__(self) -> str:
        asked = ", ".join(f"{name}={value!r}" for name, value in self.key.items()) or "no key"
        return (
            f"view '{self.view}', feature '{self.feature}', {asked}: the plan reads {self.plan!r}, "
            f"get_online_features {self.feast!r}"
        )


@dataclass(frozen=True)
class Agreement:
    """How many values were held against each other, how many of them were there, and what differed."""

    values: int
    present: int
    differences: tuple[Difference, ...]

    def check(self) -> None:
        """Refuse a plan that reads other values than Feast.

        Raises
        ------
        RepoError
            With up to twenty of the differences.
        """
        if self.differences:
            listed = "\n".join(f"- {difference}" for difference in self.differences[:_SHOWN])
            raise RepoError(
                f"{len(self.differences)} of {self.values} online values are not what Feast gives:\n{listed}"
                "\nApply the repo, materialize again, and compile the plan anew."
            )


def prove_online(repo: Repo, plan: ReadPlan, examples: pa.Table) -> Agreement:
    """Compare, before a release is built, what its plan reads for some of the examples' entities.

    A machine that trains need not reach the online store: then nothing is compared, and the log says so.

    Raises
    ------
    RepoError
        If a value differs; the message names view, feature and key.
    """
    names = [*plan.request_keys, *plan.client_inputs]
    picked = examples.select(names).slice(max(0, examples.num_rows - _EXAMPLES))
    try:
        agreement = compare_online(repo, plan, picked.to_pydict())
    except OnlineStoreError as error:
        _log.warning("Service '%s': its online values were not compared: %s", plan.feature_service, error)
        return Agreement(0, 0, ())
    _log.info("Service '%s': %d online values compared", plan.feature_service, agreement.values)
    agreement.check()
    return agreement


def compare_online(repo: Repo, plan: ReadPlan, questions: Columns | None = None) -> Agreement:
    """Read the same entities by a plan and through ``get_online_features``, and compare every value.

    ``questions`` are columns of request keys and request inputs, as a client sends them: then the
    plan's feature service answers as a whole. Without, entities are taken from the views' own tables
    and each view answers for itself. Both sides are asked for the time of the last watermark. Before
    anything was materialized there is nothing to compare.

    Raises
    ------
    RepoError
        If the plan's service or views are not registered.
    OnlineStoreError
        If the online store cannot be read.
    """
    used = {view.name: view for view in take_apart(repo.store, plan.feature_service).views}
    if missing := [view.name for view in plan.views if view.name not in used]:
        raise RepoError(f"Service '{plan.feature_service}' no longer reads views {missing}. Train again.")
    filled = watermarks(repo)
    if not filled or any(used[view.name].view.name not in filled for view in plan.views):
        return Agreement(0, 0, ())
    now_us = to_us(max(filled.values()))
    asked = sample_entities(repo, plan) if questions is None else questions
    asked = _without_null_keys(plan, asked)
    keys = {name: asked[name] for name in plan.request_keys}
    ours = open_reader(repo, plan).read(keys, now_us)
    with _told(repo.store.provider.online_store, repo.store.config, FixedClock(now_us)):
        theirs = {} if questions is None else _ask_service(repo, plan, asked, now_us)
        # What only an on-demand view reads is no part of the service's own answer.
        alone = [v for v in plan.views if any(v.column(f.name) not in theirs for f in v.features)]
        theirs = _ask_by_view(repo, alone, used, keys) | theirs
    compared = [_compare(view, ours, theirs, keys) for view in plan.views]
    return Agreement(
        values=sum(values for values, _, _ in compared),
        present=sum(present for _, present, _ in compared),
        differences=tuple(difference for _, _, found in compared for difference in found),
    )


def sample_entities(repo: Repo, plan: ReadPlan, count: int = ENTITIES_A_VIEW) -> dict[str, list[object]]:
    """Take entities of each view from its table, the same ones each time, and lay them out as questions."""
    used = {view.name: view for view in take_apart(repo.store, plan.feature_service).views}
    columns: dict[str, list[object]] = {name: [] for name in plan.request_keys}
    found = {view.name: _entities(repo, view, used[view.name], count) for view in plan.views}
    for first in plan.views:
        for number in range(found[first.name].height):
            row: dict[str, object] = {}
            # The view whose turn it is gets an entity of its own; the others what that leaves open.
            for view in (first, *(other for other in plan.views if other is not first)):
                some = found[view.name]
                entity = some.row(number % some.height, named=True) if some.height else {}
                for name, value in entity.items():
                    row.setdefault(name, value)
            for name, column in columns.items():
                column.append(row.get(name))
    return columns


def _entities(repo: Repo, view: PlanView, used: ServiceView, count: int) -> pl.DataFrame:
    names = {key.view_key: key.request_key for key in view.keys}
    if not names:
        return pl.DataFrame()
    keys = feature_table(used.view, repo.store.config).rows.select(list(names)).drop_nulls()
    rows = int(keys.select(pl.len()).collect().item())
    places = sorted({rows * place // _PLACES_IN_A_TABLE for place in range(_PLACES_IN_A_TABLE)})
    some = pl.concat([keys.slice(place, count) for place in places]).collect()
    return some.unique(maintain_order=True).head(count).rename(names)


def _ask_service(repo: Repo, plan: ReadPlan, asked: Columns, now_us: int) -> dict[str, list[object]]:
    count = _count(asked)
    inputs = {name: asked[name] for name in plan.client_inputs}
    if plan.question_time_input is not None:
        inputs[plan.question_time_input] = [now_us] * count
    service = repo.store.get_feature_service(plan.feature_service)
    return _answer(repo, service, {**{name: asked[name] for name in plan.request_keys}, **inputs}, count)


def _ask_by_view(
    repo: Repo, views: Sequence[PlanView], used: Mapping[str, ServiceView], keys: Columns
) -> dict[str, list[object]]:
    count = _count(keys)
    found: dict[str, list[object]] = {}
    for view in views:
        name = used[view.name].view.name
        columns = {key.view_key: keys[key.request_key] for key in view.keys}
        references = [f"{name}:{feature.name}" for feature in view.features]
        answer = _answer(repo, references, columns, count)
        found |= {view.column(f.name): answer[f"{name}__{f.name}"] for f in view.features}
    return found


def _answer(
    repo: Repo, features: list[str] | FeatureService, columns: Columns, count: int
) -> dict[str, list[object]]:
    rows = [{name: values[i] for name, values in columns.items()} for i in range(count)]
    response = repo.store.get_online_features(features=features, entity_rows=rows, full_feature_names=True)
    answer: dict[str, list[object]] = response.to_dict()
    return answer


def _without_null_keys(plan: ReadPlan, asked: Columns) -> dict[str, list[object]]:
    # A null key is nobody's; stores of Feast's fail for the whole question.
    columns = [asked[name] for name in plan.request_keys]
    whole = [i for i in range(_count(asked)) if all(column[i] is not None for column in columns)]
    return {name: [values[i] for i in whole] for name, values in asked.items()}


def _count(columns: Columns) -> int:
    return max(map(len, columns.values()), default=1)


def _compare(
    view: PlanView, ours: ReadResult, theirs: Mapping[str, list[object]], keys: Columns
) -> tuple[int, int, list[Difference]]:
    values = present = 0
    found = []
    for at, status in enumerate(ours.status[view.name]):
        # Feast's own stores give what the ttl or the clock withholds here.
        if status not in (Status.PRESENT, Status.NOT_FOUND):
            continue
        for feature in view.features:
            column = view.column(feature.name)
            mine, other = ours.values[column][at], theirs[column][at]
            values += 1
            present += mine is not None
            if not _same(mine, other):
                key = {key.request_key: keys[key.request_key][at] for key in view.keys}
                found.append(Difference(view.name, feature.name, key, mine, other))
    return values, present, found


def _same(mine: object, other: object) -> bool:
    mine, other = _plain(mine), _plain(other)
    if isinstance(mine, list) and isinstance(other, list):
        return len(mine) == len(other) and all(map(_same, mine, other))
    return mine == other and isinstance(mine, bool) == isinstance(other, bool)


def _plain(value: object) -> object:
    if isinstance(value, float) and math.isnan(value):
        return None
    if isinstance(value, datetime):
        # Feast's values hold whole seconds.
        moment = value if value.tzinfo else value.replace(tzinfo=UTC)
        return moment.replace(microsecond=0)
    return value


def _told(store: OnlineStore, config: RepoConfig, clock: Clock) -> AbstractContextManager[None]:
    return store.at(config, clock) if isinstance(store, PackedOnlineStore) else nullcontext()
