"""Point-in-time frames: what was known at each question, and what was served to it."""

from collections.abc import Mapping, Sequence
from typing import Protocol, TypedDict, runtime_checkable

import pandas as pd
import polars as pl
import pyarrow as pa
from feast import FeatureService
from feast.feature_view import FeatureView
from feast.repo_config import RepoConfig

from knownat.clock import CLOCK_SKEW_US
from knownat.contract.read_plan import PlanView, ReadPlan, Status
from knownat.errors import RepoError, RowsNotConserved
from knownat.stores.asof import AsOf, join_as_of
from knownat.stores.repo import Repo
from knownat.stores.services import Service, as_declared, take_apart, take_features
from knownat.stores.sources import asked_keys, feature_table
from knownat.stores.tables import exact_microseconds

_EVENT_TIMESTAMP = "event_timestamp"
_MOMENT = pl.Datetime("us", "UTC")


class _Asked(TypedDict):
    features: list[str]
    keys: dict[str, str]
    event_timestamp: str
    known_at: str
    ttl_us: int


@runtime_checkable
class FindsServed(Protocol):
    """An offline store that looks served rows up by itself, as one on a cluster does."""

    def find_served(
        self,
        config: RepoConfig,
        view: FeatureView,
        examples: pl.DataFrame,
        *,
        features: Sequence[str],
        keys: Mapping[str, str],
        event_timestamp: str,
        known_at: str,
        ttl_us: int,
    ) -> AsOf:
        """Find what :func:`knownat.stores.asof.join_as_of` does, expired rows included."""
        ...


def historical_frame(repo: Repo, examples: pa.Table | pd.DataFrame, feature_service: str) -> pa.Table:
    """Join examples with everything a feature service promises, as it was known at each one's time.

    Returns the examples' columns, then every feature as ``view__feature`` with its declared type;
    same rows, same order. The created cut-off is always on.

    Raises
    ------
    RepoError
        If the examples lack a key or request input, or a feature does not fit its declared type.
    RowsNotConserved
        If the store returned other rows than it was given.
    """
    service = take_apart(repo.store, feature_service)
    return _join(repo, _as_arrow(examples), service, repo.store.get_feature_service(feature_service))


def join_features(repo: Repo, questions: pa.Table | pd.DataFrame, features: Sequence[str]) -> pa.Table:
    """Join questions with features by name, as they were known at each one's ``event_timestamp``.

    A feature is ``view:feature``, or ``view`` for all of a view's. Otherwise as :func:`historical_frame`.

    Raises
    ------
    RepoError
        If a feature is not registered, or the questions lack a key or request input.
    RowsNotConserved
        If the store returned other rows than it was given.
    """
    service = take_features(repo.store, features)
    return _join(repo, _as_arrow(questions), service, [n.replace("__", ":", 1) for n in service.promised])


def _join(repo: Repo, table: pa.Table, service: Service, features: FeatureService | list[str]) -> pa.Table:
    if taken := [name for name in service.promised if name in table.column_names]:
        raise RepoError(f"The examples already have columns {taken}. Rename them in the examples' SQL.")
    asked = table.select(_needed(service, table))
    job = repo.store.get_historical_features(
        entity_df=_as_pandas(asked),
        features=features,
        full_feature_names=True,
        filter_by_created_timestamp=True,
    )
    found = job.to_arrow()
    _check_conserved(asked, found)
    for name, kind in service.promised.items():
        table = table.append_column(name, as_declared(found[name], kind, name))
    return table


def replay_frame(repo: Repo, examples: pa.Table, plan: ReadPlan, *, known_at: str = "known_at") -> pa.Table:
    """Tell what the online store must have served to each example.

    The row is the newest one visible by ``known_at``, the time of the last write before the
    question; its ttl is measured at ``event_timestamp``. Beside every stored feature of the plan
    come ``<view>__event_timestamp``, ``<view>__created_timestamp`` and ``<view>__status``.
    On-demand features are not computed here: they follow from these columns.
    """
    frame = pl.DataFrame(examples)
    result = examples
    stored = {view.name: view.view for view in take_apart(repo.store, plan.feature_service).views}
    for view in plan.views:
        if view.name not in stored:
            raise RepoError(f"Service '{plan.feature_service}' no longer reads view '{view.name}'.")
        found = _find_served(repo, stored[view.name], frame, view, known_at)
        early = _early(frame, found)
        # A store that is ahead of the question's clock serves nothing from its future.
        values = found.values.select(pl.when(~early).then(pl.all())).to_arrow(
            compat_level=pl.CompatLevel.oldest()
        )
        for feature in view.features:
            kind = pa.type_for_alias(feature.dtype)
            name = view.column(feature.name)
            result = result.append_column(name, as_declared(values[feature.name], kind, name))
        result = _append_served(result, view, found, early)
    return result


def _find_served(
    repo: Repo, stored: FeatureView, examples: pl.DataFrame, view: PlanView, known_at: str
) -> AsOf:
    asked: _Asked = {
        "features": [feature.name for feature in view.features],
        "keys": {key.view_key: key.request_key for key in view.keys},
        "event_timestamp": _EVENT_TIMESTAMP,
        "known_at": known_at,
        "ttl_us": view.ttl_us,
    }
    config, offline = repo.store.config, repo.store.provider.offline_store
    if isinstance(offline, FindsServed):
        return offline.find_served(config, stored, examples, **asked)
    return join_as_of(examples, feature_table(stored, config), find_expired=True, **asked)


def _early(frame: pl.DataFrame, found: AsOf) -> pl.Series:
    """Tell which rows became known after their question's time, beyond what two clocks may differ by."""
    asked = exact_microseconds(frame[_EVENT_TIMESTAMP], where=f"The examples' column '{_EVENT_TIMESTAMP}'")
    visible = pl.max_horizontal(found.event_us, found.created_us)
    return pl.select((visible > asked + CLOCK_SKEW_US).fill_null(value=False)).to_series()


def _append_served(result: pa.Table, view: PlanView, found: AsOf, early: pl.Series) -> pa.Table:
    status = (
        pl.when(early)
        .then(pl.lit(str(Status.NOT_YET)))
        .when(found.expired)
        .then(pl.lit(str(Status.EXPIRED)))
        .when(found.event_us.is_null())
        .then(pl.lit(str(Status.NOT_FOUND)))
        .otherwise(pl.lit(str(Status.PRESENT)))
    )
    served = pl.select(
        found.event_us.cast(_MOMENT).alias(f"{view.name}__event_timestamp"),
        found.created_us.cast(_MOMENT).alias(f"{view.name}__created_timestamp"),
        status.alias(f"{view.name}__status"),
    ).to_arrow(compat_level=pl.CompatLevel.oldest())
    for name in served.column_names:
        column = served[name]
        result = result.append_column(name, column.cast(pa.string()) if name.endswith("__status") else column)
    return result


def _needed(service: Service, examples: pa.Table) -> list[str]:
    keys = [name for v in service.views for name in asked_keys(v.view).values()]
    needed = [*dict.fromkeys([_EVENT_TIMESTAMP, *keys, *service.request_inputs])]
    if missing := [name for name in needed if name not in examples.column_names]:
        raise RepoError(
            f"The examples lack {missing}, which feature service '{service.name}' needs; they have "
            f"{examples.column_names}. Add them to the examples' SQL."
        )
    return needed


def _check_conserved(asked: pa.Table, found: pa.Table) -> None:
    if asked.num_rows != found.num_rows:
        raise RowsNotConserved(f"{asked.num_rows} examples in, {found.num_rows} rows out.")
    for name in asked.column_names:
        given, back = asked[name], found[name]
        if not back.cast(given.type).equals(given):
            raise RowsNotConserved(f"The rows came back in another order: column '{name}' differs.")


def _as_pandas(asked: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = asked.to_pandas()
    for name in asked.column_names:
        if pa.types.is_integer(asked[name].type) and asked[name].null_count:
            # pandas' own integers become doubles beside a null; Arrow's stay exact.
            frame[name] = asked[name].to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _as_arrow(examples: pa.Table | pd.DataFrame) -> pa.Table:
    if isinstance(examples, pd.DataFrame):
        return pa.Table.from_pandas(examples, preserve_index=False)
    return examples
