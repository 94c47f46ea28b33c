"""What can be silently wrong with the online store; each check names one thing and the next step."""

from collections.abc import Iterator
from itertools import islice

from knownat.clock import CLOCK_SKEW_US, from_us
from knownat.contract.read_plan import ReadPlan
from knownat.contract.release import read_deployment, read_release
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError, ReleaseError
from knownat.stores.agreement import compare_online
from knownat.stores.codec import IDENTITY, VERSION, is_intact
from knownat.stores.codec_read import row_times
from knownat.stores.compute import VisibleComputeEngineConfig
from knownat.stores.materialization import online_views
from knownat.stores.packed_online import PackedOnlineStore
from knownat.stores.packed_reads import view_name
from knownat.stores.plan import compile_read_plan
from knownat.stores.repo import Repo
from knownat.stores.row_keys import ViewName
from knownat.stores.rows import RowStore
from knownat.stores.settings import read_raw_settings

_ROWS_A_VIEW = 10_000
_SHOWN = 5


def check_online_store(repo: Repo) -> Iterator[str]:
    """The online store keeps the newest row of each entity, with its exact times, and applies ttl."""
    store = repo.store.provider.online_store
    if not isinstance(store, PackedOnlineStore):
        yield (
            f"online_store is {type(store).__name__}: of two rows with one event time it may keep the older, "
            "a row from the future blocks its entity, and Feast's reads ignore ttl. Set online_store.type to "
            "knownat.stores.lmdb_online.LmdbOnlineStore or knownat.stores.redis_online.RedisOnlineStore."
        )
        return
    yield from store.row_store(repo.store.config).dangers()


def check_batch_engine(repo: Repo) -> Iterator[str]:
    """A bare ``feast materialize`` writes what was visible, as ours does."""
    if isinstance(repo.store.config.batch_engine, VisibleComputeEngineConfig):
        return
    # What the file says: opening a repo with knownat adds the setting, Feast's own command does not.
    said = read_raw_settings(repo.path).get("materialization")
    if not (isinstance(said, dict) and said.get("pull_latest_features")):
        yield (
            "a bare `feast materialize` reads by event time and serves values that nobody knew yet. In "
            "feature_store.yaml set batch_engine.type to knownat.stores.compute.VisibleComputeEngine."
        )


def check_stored_rows(repo: Repo) -> Iterator[str]:
    """Stored rows are whole, of a known schema, and not from the future."""
    store, config = repo.store.provider.online_store, repo.store.config
    if not isinstance(store, PackedOnlineStore):
        return
    rows, latest = store.row_store(config), store.clock(config).now_us() + CLOCK_SKEW_US
    for view in online_views(repo):
        yield from _row_problems(rows, view_name(config, view), latest_us=latest)


def check_online_values(repo: Repo) -> Iterator[str]:
    """What read plans decode is what ``get_online_features`` gives, on sampled entities."""
    for where, plan in _plans(repo):
        agreement = compare_online(repo, plan)
        for difference in agreement.differences[:_SHOWN]:
            yield f"{where}: {difference}. Materialize again, or train a release on the present definitions."
        if (more := len(agreement.differences) - _SHOWN) > 0:
            yield f"{where}: {more} more values differ, of {agreement.values}."


def _row_problems(rows: RowStore, name: ViewName, *, latest_us: int) -> Iterator[str]:
    schemas = rows.schemas(name)
    damaged = unknown = early = 0
    for key, row in islice(rows.scan(name), _ROWS_A_VIEW):
        if not is_intact(key, row):
            damaged += 1
        elif row[0] != VERSION or row[IDENTITY] not in schemas:
            unknown += 1
        elif max(row_times(row)) > latest_us:
            early += 1
    again = "Delete the view's rows and materialize it again."
    if damaged:
        yield f"view '{name.view}': {damaged} stored rows are damaged. {again}"
    if unknown:
        yield f"view '{name.view}': {unknown} stored rows name a schema the store does not hold. {again}"
    if early:
        yield (
            f"view '{name.view}': {early} stored rows are later than now ({from_us(latest_us).isoformat()}) "
            f"and hold back every row before them. {again}"
        )


def _plans(repo: Repo) -> Iterator[tuple[str, ReadPlan]]:
    """Every service's plan as it would be compiled now, and those of deployed releases that are others."""
    seen: list[ReadPlan] = []
    for service in repo.store.list_feature_services():
        try:
            plan, _ = compile_read_plan(repo, service.name)
        except ConfigError:
            continue  # Another check names it.
        seen.append(plan)
        yield f"feature service '{service.name}'", plan
    for name, plan in _deployed_plans(Workspace.at(repo.path)):
        if all((plan.views, plan.project) != (other.views, other.project) for other in seen):
            seen.append(plan)
            yield name, plan


def _deployed_plans(workspace: Workspace) -> Iterator[tuple[str, ReadPlan]]:
    for model, deployed in read_deployment(workspace.deployment).models.items():
        versions = [deployed.champion, deployed.challenger, *deployed.shadow, *deployed.pinned]
        for version in filter(None, versions):
            try:
                path = workspace.releases / model / version.version
                yield f"{model} {version.version}", read_release(path, digest=version.digest).plan
            except ReleaseError:
                continue  # Another check names it.
