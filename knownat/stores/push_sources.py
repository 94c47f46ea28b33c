"""From a registry's push sources to the file by which a scorer takes pushed rows."""

from feast import FeatureStore
from feast.data_source import PushSource as FeastPushSource
from feast.feature_view import FeatureView

from knownat.contract.push_plan import PushField, PushPlan, PushSource, PushView
from knownat.stores.feast_types import packed_types, row_schema
from knownat.stores.sources import batch_source


def compile_push_plan(store: FeatureStore) -> PushPlan:
    """Tell of every push source which views it feeds and what their rows hold.

    Raises
    ------
    SchemaMismatch
        If a key or a feature of such a view is of a type that cannot be stored.
    RepoError
        If such a view has no batch source, which would say what its times are called.
    """
    fed: dict[str, list[PushView]] = {}
    for view in store.list_batch_feature_views():
        source = view.stream_source
        if view.online and isinstance(source, FeastPushSource):
            fed.setdefault(source.name, []).append(_push_view(view))
    sources = {name: PushSource(views=tuple(views)) for name, views in sorted(fed.items())}
    return PushPlan(project=store.project, sources=sources)


def _push_view(view: FeatureView) -> PushView:
    source = batch_source(view)
    mapping = dict(source.field_mapping or {})
    keys = row_schema(view).keys
    return PushView(
        name=view.name,
        keys=tuple(PushField(name=key.name, dtype=key.dtype) for key in keys),
        features=tuple(PushField(name=n, dtype=dtype) for n, dtype in packed_types(view).items()),
        event=mapping.get(source.timestamp_field, source.timestamp_field),
        created=mapping.get(source.created_timestamp_column, source.created_timestamp_column) or None,
    )
