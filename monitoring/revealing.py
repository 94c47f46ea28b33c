"""From pseudonyms in the prediction log back to the entities that the feature tables know."""

from collections.abc import Mapping

import polars as pl
import pyarrow as pa

from knownat.contract.pseudonyms import Pseudonyms
from knownat.contract.read_plan import ReadPlan
from knownat.contract.release import read_release
from knownat.contract.workspace import Workspace
from knownat.errors import LogError
from knownat.stores.repo import Repo, open_repo
from knownat.stores.services import take_apart
from knownat.stores.sources import feature_table

_TYPES = {"int64": pa.int64(), "string": pa.string()}


def reveal_keys(
    workspace: Workspace, model: str, predictions: pa.Table, pseudonyms: Pseudonyms | None
) -> pa.Table:
    """Put values in the place of the pseudonyms of a model's log; other keys stay as they are.

    The candidates are the keys in the feature tables. A pseudonym of none of them becomes a null: an
    entity without a row is not found, by whatever key.

    Raises
    ------
    LogError
        If there are pseudonyms and no secret, or not the one that they were made with.
    ReleaseError, RepoError
        If a version's release, or a view that it reads, is not there.
    """
    versions = sorted(predictions["version"].unique().to_pylist())
    releases = [read_release(workspace.releases / model / version) for version in versions]
    hidden = {name for one in releases for name in one.manifest.spec.serving.pseudonymous_keys}
    if not hidden:
        return predictions
    if pseudonyms is None:
        raise LogError(
            f"The log of '{model}' holds {sorted(hidden)} as keyed hashes. "
            "Name the secret that they were made with: --pseudonym-key FILE."
        )
    repo = open_repo(workspace.repo)
    for name in sorted(hidden):
        found = [one.plan for one in releases if name in one.plan.request_keys]
        known = pseudonyms.known(name, set().union(*(_candidates(repo, plan, name) for plan in found)))
        predictions = _reveal(predictions, name, known, pseudonyms, _TYPES[found[0].request_keys[name]])
    return predictions


def _candidates(repo: Repo, plan: ReadPlan, name: str) -> set[object]:
    stored = {view.name: view.view for view in take_apart(repo.store, plan.feature_service).views}
    found: set[object] = set()
    for view in plan.views:
        for key in view.keys:
            if key.request_key == name and view.name in stored:
                rows = feature_table(stored[view.name], repo.store.config).rows
                column = rows.select(pl.col(key.view_key).unique()).collect().to_series()
                found.update(column.drop_nulls().to_list())
    return found


def _reveal(
    predictions: pa.Table, name: str, known: Mapping[str, object], pseudonyms: Pseudonyms, kind: pa.DataType
) -> pa.Table:
    column = f"key__{name}"
    logged = predictions[column].cast(pa.string()).to_pylist()
    # Before a key was declared pseudonymous it was logged as it is.
    made = [value is not None and pseudonyms.made(value) for value in logged]
    strangers = pseudonyms.strangers([v for v, here in zip(logged, made, strict=True) if here])
    if strangers:
        raise LogError(f"{strangers} values of '{column}' were hashed with another secret. Name that one.")
    plain = pa.array([None if here else value for value, here in zip(logged, made, strict=True)], pa.string())
    values = [
        known.get(str(value)) if here else old
        for value, here, old in zip(logged, made, plain.cast(kind).to_pylist(), strict=True)
    ]
    place = predictions.schema.get_field_index(column)
    return predictions.set_column(place, column, pa.array(values, kind))
