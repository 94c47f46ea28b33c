"""Feast's online question checked before Feast converts it, and its answer put together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from feast import FeatureService, FeatureView
from feast.infra.registry.base_registry import BaseRegistry
from feast.protos.feast.serving.ServingService_pb2 import FieldStatus, GetOnlineFeaturesResponse
from feast.protos.feast.types.Value_pb2 import Value
from feast.utils import _get_cached_request_context
from feast.value_type import ValueType

from knownat.contract.read_plan import Status
from knownat.errors import BadKey
from knownat.stores.codec import RowField
from knownat.stores.feast_values import key_values
from knownat.stores.packed_views import Answer

_STATUS = {
    Status.PRESENT: FieldStatus.PRESENT,
    Status.NOT_FOUND: FieldStatus.NOT_FOUND,
    Status.EXPIRED: FieldStatus.OUTSIDE_MAX_AGE,
    # Feast has no word for a row from the future of a clock that is behind.
    Status.NOT_YET: FieldStatus.OUTSIDE_MAX_AGE,
}
_EXACT: dict[ValueType, tuple[type, ...]] = {
    ValueType.INT32: (int, np.integer),
    ValueType.INT64: (int, np.integer),
    ValueType.STRING: (str,),
    ValueType.UUID: (str, UUID),
    ValueType.TIME_UUID: (str, UUID),
    ValueType.BYTES: (bytes,),
    ValueType.BOOL: (bool, np.bool_),
}


@dataclass(frozen=True)
class Read:
    """One view's answer: its distinct rows, and which of them each entity row wants."""

    view: FeatureView
    features: Sequence[str]
    answer: Answer
    places: Sequence[int]


def check_entity_rows(
    registry: BaseRegistry,
    project: str,
    features: list[str] | FeatureService,
    entity_rows: Any,
    full_feature_names: bool,
) -> None:
    """Refuse keys that Feast would convert into another entity's: 1.5, ``True`` and "1_0" for 1, 1 and 10.

    Raises
    ------
    BadKey
        If a key is not of the type that its view declares. A null is a key without a row.
    """
    # Feast keeps this and asks for it again right after.
    context = _get_cached_request_context(registry, project, features, full_feature_names)
    types: Mapping[str, ValueType] = context[3]
    names: Mapping[str, str] = context[2]
    for column, values in _columns(entity_rows).items():
        kind = types.get(column) or types.get(names.get(column, ""))
        allowed = None if kind is None else _EXACT.get(kind)
        if kind is None or allowed is None:
            continue
        given = set(map(type, values)) - {type(None), Value}
        if wrong := [t.__name__ for t in given if not _is_exactly(t, allowed)]:
            raise BadKey(
                f"Key '{column}' must be {kind.name}, not {sorted(wrong)}; keys are never converted."
            )


def _columns(entity_rows: Any) -> dict[str, Sequence[object]]:
    if isinstance(entity_rows, list):
        return {name: [row.get(name) for row in entity_rows] for name in (entity_rows or [{}])[0]}
    # A RepeatedValue holds messages, whose kinds are looked at when they become row keys.
    return {name: getattr(values, "val", values) for name, values in entity_rows.items()}


def _is_exactly(given: type, allowed: tuple[type, ...]) -> bool:
    return issubclass(given, allowed) and (given is not bool or bool in allowed)


def view_keys_of(
    view: FeatureView, keys: Sequence[RowField], join_key_values: Mapping[str, Sequence[Value]]
) -> tuple[list[list[Any]], int]:
    """Return one view's key columns, in order of their names, from a question's; and how many rows it has.

    Raises
    ------
    BadKey
        If a key is missing or of another type.
    """
    aliases = view.projection.join_key_map
    count = max(map(len, join_key_values.values()), default=0)
    asked = {field: aliases.get(field.name, field.name) for field in keys}
    if missing := [name for name in asked.values() if name not in join_key_values]:
        raise BadKey(f"{view.name}: keys {missing} are missing; the question has {sorted(join_key_values)}.")
    return [key_values(view.name, field, join_key_values[name]) for field, name in asked.items()], count


def add_to_response(
    response: GetOnlineFeaturesResponse, read: Read, full_feature_names: bool, with_versions: bool
) -> None:
    """Add one view's features to Feast's answer; an expired value is null and OUTSIDE_MAX_AGE."""
    named = read.view.projection.name_to_use()
    response.metadata.feature_names.val.extend(
        f"{named}__{feature}" if full_feature_names else feature for feature in read.features
    )
    if with_versions:
        _add_version(response, read.view)
    statuses = [_STATUS[status] for status in read.answer.status]
    moments = _timestamps(read.answer.event_us)
    all_statuses = [statuses[place] for place in read.places]
    all_moments = [moments[place] for place in read.places]
    for column in read.answer.columns:
        response.results.append(
            GetOnlineFeaturesResponse.FeatureVector(
                values=[column[place] for place in read.places],
                statuses=all_statuses,
                event_timestamps=all_moments,
            )
        )


def _timestamps(moments: Sequence[int | None]) -> list[Any]:
    """Return Feast's times; one that is not known is empty, as in its own answers."""
    timestamps = GetOnlineFeaturesResponse.FeatureVector().event_timestamps
    for us in moments:
        timestamp = timestamps.add()
        if us is not None:
            timestamp.FromMicroseconds(us)
    return list(timestamps)


def _add_version(response: GetOnlineFeaturesResponse, view: FeatureView) -> None:
    name = view.projection.name_alias or view.projection.name
    if name not in [known.name for known in response.metadata.feature_view_metadata]:
        known = response.metadata.feature_view_metadata.add()
        known.name = name
        known.version = view.current_version_number or 0
