"""One entity's values twice: as a training frame has them, and as an online answer does."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from knownat.errors import BadKey, StoreUnavailable
from knownat.stores.history import join_features
from knownat.stores.materialization import watermarks
from knownat.stores.repo import Repo
from knownat.stores.services import Service, take_features
from knownat.stores.sources import view_keys


@dataclass(frozen=True)
class Looked:
    """Values by feature; ``online`` is None if it was not asked for or not materialized."""

    at: datetime
    offline: Mapping[str, object]
    online: Mapping[str, object] | None

    @property
    def agree(self) -> bool | None:
        """Whether both sides give the same; None if only one of them was asked."""
        return None if self.online is None else dict(self.offline) == dict(self.online)


def look_up(
    repo: Repo, features: str, keys: Mapping[str, str], *, at: datetime, online: bool = True
) -> Looked:
    """Look up an entity's values as of a time and, if asked for, what is online now.

    ``features`` names a view, or one of its features as ``view:feature``; ``keys`` holds each key and
    request input as text.

    Raises
    ------
    RepoError
        If there is no such feature.
    BadKey
        If keys are missing, unknown, or not of their type.
    """
    service = take_features(repo.store, [features])
    types = _needed(service)
    entity = _typed(keys, types)
    question = pa.table(
        {
            **{name: pa.array([value], types[name]) for name, value in entity.items()},
            "event_timestamp": pa.array([at], pa.timestamp("us", tz="UTC")),
        }
    )
    frame = join_features(repo, question, [features])
    found = {name: frame[name][0].as_py() for name in service.promised}
    return Looked(at, found, _read_online(repo, service, entity) if online else None)


def _needed(service: Service) -> dict[str, pa.DataType]:
    keys: dict[str, pa.DataType] = {}
    for used in service.views:
        declared = {column.name: column.dtype.to_value_type().name for column in used.view.entity_columns}
        keys |= {
            key: pa.int64() if declared[key].startswith("INT") else pa.string()
            for key in view_keys(used.view)
        }
    return keys | service.request_inputs


def _typed(keys: Mapping[str, str], types: Mapping[str, pa.DataType]) -> dict[str, object]:
    if set(keys) != set(types):
        wanted = " ".join(f"--key {name}=..." for name in types)
        raise BadKey(f"Keys {sorted(keys)} were given; write {wanted}.")
    typed: dict[str, object] = {}
    for name, text in keys.items():
        try:
            typed[name] = pa.scalar(text).cast(types[name]).as_py()
        except pa.ArrowInvalid as error:
            raise BadKey(f"Key '{name}' is '{text}'; it must be {types[name]}.") from error
    return typed


def _read_online(repo: Repo, service: Service, entity: Mapping[str, object]) -> dict[str, object] | None:
    names = [name.replace("__", ":", 1) for name in service.promised]
    try:
        filled = watermarks(repo)
        if any(used.view.name not in filled for used in service.views):
            return None
        answer = repo.store.get_online_features(
            features=names, entity_rows=[dict(entity)], full_feature_names=True
        ).to_dict()
    except StoreUnavailable:
        return None
    return {name: answer[name][0] for name in service.promised}
