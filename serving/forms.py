"""What a preview page must know of a release to ask it something: its fields, examples and standing."""

import math
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from knownat.contract.release import GOLDEN, HOLDOUT, Release, read_release
from serving.served import ServedModel

_EXAMPLES = 8
_MOST_LOADED = 8


class FormField(BaseModel):
    """A key or an input: its Arrow type, and whether it may be left empty."""

    name: str
    dtype: str
    nullable: bool


class FormExample(BaseModel):
    """A question that was really asked, each value as text; a number may be longer than JavaScript's."""

    keys: dict[str, str | None]
    inputs: dict[str, str | None]


class Form(BaseModel):
    """What a release is asked, and by whom it is kept."""

    model: str
    version: str
    description: str
    owner: str
    runbook: str
    limits: list[str]
    passed: bool
    """Whether every gate let it through."""
    keys: list[FormField]
    inputs: list[FormField]
    examples: list[FormExample]


class FormAnswer(Form):
    """A form, and as what its version answers here."""

    role: str
    production: bool
    """Whether it is the champion: any other is a candidate."""


class Forms:
    """The forms of served releases, each made once; for one thread."""

    def __init__(self, releases: Path) -> None:
        self._releases = releases
        self._made: OrderedDict[str, Form] = OrderedDict()

    def of(self, model: ServedModel) -> Form:
        """Return a release's form.

        Raises
        ------
        ReleaseError
            If the release is not there any more, or was changed.
        """
        if (made := self._made.get(model.digest)) is None:
            folder = self._releases / model.name / model.version
            made = self._made[model.digest] = make_form(read_release(folder, digest=model.digest))
            if len(self._made) > _MOST_LOADED:
                self._made.popitem(last=False)
        return made


def make_form(release: Release) -> Form:
    """Make the form of a verified release."""
    manifest, plan = release.manifest, release.plan
    nullable = frozenset(plan.nullable_inputs)
    return Form(
        model=manifest.model,
        version=manifest.version,
        description=manifest.spec.description,
        owner=manifest.spec.owner,
        runbook=manifest.spec.runbook,
        limits=list(manifest.spec.limits),
        passed=manifest.passed,
        # A null key is an entity that is not found; any key may be one.
        keys=[FormField(name=name, dtype=kind, nullable=True) for name, kind in plan.request_keys.items()],
        inputs=[
            FormField(name=name, dtype=kind, nullable=name in nullable)
            for name, kind in plan.client_inputs.items()
        ],
        examples=_examples(release, _plain_keys(release), [*plan.client_inputs]),
    )


def _plain_keys(release: Release) -> list[str]:
    """Name the keys that may be shown: one that the log may not hold is no example either."""
    hidden = release.manifest.spec.serving.pseudonymous_keys
    return [name for name in release.plan.request_keys if name not in hidden]


def _examples(release: Release, keys: list[str], inputs: list[str]) -> list[FormExample]:
    """Pick real questions: of the hold-out with their entities, or of the golden rows without."""
    for file, asked in ((HOLDOUT, keys), (GOLDEN, [])):
        rows = _rows(release, file, [*asked, *inputs])
        if rows:
            return [FormExample(keys=_texts(row, keys), inputs=_texts(row, inputs)) for row in rows]
    return []


def _rows(release: Release, file: str, names: list[str]) -> list[dict[str, Any]]:
    if file not in release.manifest.files or not names:
        return []
    parquet = pq.ParquetFile(pa.BufferReader(release.read_bytes(file)))
    if not set(names) <= set(parquet.schema_arrow.names):
        return []
    table = parquet.read(columns=names, use_threads=False)
    step = max(1, len(table) // _EXAMPLES)
    picked: list[dict[str, Any]] = table.take(list(range(0, len(table), step))[:_EXAMPLES]).to_pylist()
    return picked


def _texts(row: Mapping[str, Any], names: Iterable[str]) -> dict[str, str | None]:
    return {name: _text(row.get(name)) for name in names}


def _text(value: object) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)
