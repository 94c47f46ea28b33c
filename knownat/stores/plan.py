"""From a feature service to the read plan a release carries."""

from collections.abc import Mapping

import pyarrow as pa
from feast.on_demand_feature_view import OnDemandFeatureView
from feast.value_type import ValueType

from knownat.contract.read_plan import KeyDtype, PlanFeature, PlanKey, PlanTransform, PlanView, ReadPlan
from knownat.errors import ConfigError
from knownat.stores.bodies import Body, stand_alone
from knownat.stores.online_rows import key_types
from knownat.stores.packed_reads import view_name
from knownat.stores.repo import Repo
from knownat.stores.services import (
    Service,
    ServiceView,
    arrow_type,
    request_sources,
    stored_sources,
    take_apart,
)
from knownat.stores.sources import asked_keys, ttl_microseconds

_KEY_DTYPES: Mapping[ValueType, KeyDtype] = {
    ValueType.STRING: "string",
    ValueType.INT64: "int64",
    ValueType.INT32: "int64",
}
# Arrow's own names for these are 'double', 'float' and 'bool'.
_TYPE_NAMES = {pa.float64(): "float64", pa.float32(): "float32"}


def compile_read_plan(
    repo: Repo, feature_service: str, *, question_time_input: str | None = None
) -> tuple[ReadPlan, dict[str, str]]:
    """Compile a feature service into a read plan and the sources of its on-demand views.

    Parameters
    ----------
    question_time_input
        The request input that the scorer fills with the time of the question.

    Returns
    -------
    The plan, and the text of each file it names.

    Raises
    ------
    ConfigError
        If the service cannot be served as it was trained; every reason at once.
    """
    service = take_apart(repo.store, feature_service)
    problems: list[str] = []
    bodies = {view.name: _body(view, problems) for view in service.on_demand}
    _check_request(service, question_time_input, problems)
    for used in service.views:
        problems += _bad_keys(used)
    if problems:
        raise ConfigError(f"{repo.path}, feature service '{feature_service}'", problems)
    files = {f"{name}.py": body.source for name, body in bodies.items() if body}
    plan = ReadPlan(
        project=repo.store.project,
        feature_service=feature_service,
        views=tuple(plan_view(repo, used) for used in service.views),
        transforms=tuple(_plan_transform(v, b) for v in service.on_demand if (b := bodies[v.name])),
        request_inputs=tuple(PlanFeature(name=n, dtype=_name(t)) for n, t in service.request_inputs.items()),
        question_time_input=question_time_input,
        output_columns=tuple(service.promised),
    )
    return plan, files


def _body(view: OnDemandFeatureView, problems: list[str]) -> Body | None:
    if view.mode != "python" or view.singleton:
        mode = "singleton" if view.singleton else view.mode
        problems.append(
            f"on-demand view '{view.name}' is of mode '{mode}'; write it with mode=\"python\" over lists, "
            "which trains and serves the same way"
        )
        return None
    transformation = view.feature_transformation
    body, found = stand_alone(view.name, getattr(transformation, "udf_string", "") or "")
    problems += found
    return body


def _check_request(service: Service, question_time_input: str | None, problems: list[str]) -> None:
    if question_time_input is None:
        return
    kind = service.request_inputs.get(question_time_input)
    if kind is None:
        problems.append(
            f"no on-demand view has a request input '{question_time_input}'; it has "
            f"{sorted(service.request_inputs)}. Correct question_time_input in the model's TOML"
        )
    elif kind != pa.int64():
        problems.append(f"request input '{question_time_input}' is {kind}; a question's time must be Int64")


def _bad_keys(used: ServiceView) -> list[str]:
    return [
        f"view '{used.name}': key '{key}' is {kind.name}; online keys are Int64, Int32 or String"
        for key, kind in key_types(used.view).items()
        if kind not in _KEY_DTYPES
    ]


def plan_view(repo: Repo, used: ServiceView) -> PlanView:
    """Plan how one view is read."""
    kinds = key_types(used.view)
    stored = view_name(repo.store.config, used.view).view
    return PlanView(
        name=used.name,
        keys=tuple(
            PlanKey(view_key=key, request_key=asked, dtype=_KEY_DTYPES[kinds[key]])
            for key, asked in asked_keys(used.view).items()
        ),
        ttl_us=ttl_microseconds(used.view),
        features=tuple(PlanFeature(name=name, dtype=_name(kind)) for name, kind in used.features.items()),
        view="" if stored == used.name else stored,
    )


def _plan_transform(view: OnDemandFeatureView, body: Body) -> PlanTransform:
    name = view.projection.name_alias or view.name
    return PlanTransform(
        name=name,
        file=f"{view.name}.py",
        function=body.function,
        inputs=_inputs(view),
        outputs=tuple(
            PlanFeature(name=f.name, dtype=_name(arrow_type(f.dtype))) for f in view.projection.features
        ),
    )


def _inputs(view: OnDemandFeatureView) -> dict[str, str]:
    """Map every name Feast gives a body for an input to the column that holds it."""
    inputs: dict[str, str] = {}
    for source in stored_sources(view):
        for feature in source.features:
            column = f"{source.name_alias or source.name}__{feature.name}"
            inputs |= {feature.name: column, column: column}
    for request in request_sources(view):
        inputs |= {field.name: field.name for field in request.schema}
    return inputs


def _name(kind: pa.DataType) -> str:
    return _TYPE_NAMES.get(kind, str(kind))
