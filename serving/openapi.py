"""The HTTP interface as OpenAPI describes it; requests are checked by hand, so they are described by hand."""

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field

from knownat.contract.read_plan import Status
from knownat.scoring.contributions import Scale
from serving.explaining import MAX_EXPLAINED_ROWS
from serving.feedback import MAX_COMMENT_CHARACTERS
from serving.forms import FormAnswer
from serving.labels import MAX_LABELS
from serving.push_route import PushAnswer
from serving.questions import MAX_ROWS


class ViewAnswer(BaseModel):
    """What became of one view's row, and how old it is."""

    status: Status
    age_seconds: float | None


class ContributionAnswer(BaseModel):
    """What one feature added to a raw score."""

    feature: str
    value: str | float | int | bool | None
    contribution: float


class OutputExplanation(BaseModel):
    """``raw_score`` is ``base`` and all contributions; the largest come first."""

    base: float
    raw_score: float
    contributions: list[ContributionAnswer]


class ExplanationAnswer(OutputExplanation):
    """A score explained, on ``scale``.

    Of a multiclass model it is the likeliest class's, named by ``class``; ``classes`` holds each class's.
    """

    scale: Scale
    likeliest: int | None = Field(default=None, alias="class")
    classes: list[OutputExplanation] | None = None


class PredictionAnswer(BaseModel):
    """One prediction; ``degraded`` when a view gave no current value; explained if that was asked.

    A multiclass model names the likeliest class, whose share is the score, and gives the shares of all.
    """

    prediction_id: str
    score: float
    degraded: bool
    likeliest: int | None = Field(default=None, alias="class")
    shares: list[float] | None = None
    views: dict[str, ViewAnswer]
    explanation: ExplanationAnswer | None = None


class PredictAnswer(BaseModel):
    """The predictions of one request, in its order."""

    model: str
    version: str
    request_id: str
    predictions: list[PredictionAnswer]


class LabelsAnswer(BaseModel):
    """How many labels were kept, and the ids that no prediction of this installation has."""

    accepted: int
    unknown: list[str]


class FeedbackAnswer(BaseModel):
    """The bundle that was made, or that the same comment had made before."""

    feedback_id: str
    created: bool


class ErrorBody(BaseModel):
    """What went wrong: a code to switch on, a sentence, and where."""

    code: str
    message: str
    details: list[dict[str, Any]] = []


class ErrorAnswer(BaseModel):
    """Any answer that is not a success."""

    error: ErrorBody


_ROW: dict[str, Any] = {
    "keys": {
        "type": "object",
        "description": "Every entity key of the model; a null is an entity that is not found.",
        "additionalProperties": {"type": ["string", "integer", "null"]},
    },
    "inputs": {
        "type": "object",
        "description": "Every request input of the model but the question's time.",
        "additionalProperties": {"type": ["string", "number", "boolean", "null"]},
    },
}
_REQUEST_ID = {"type": "string", "minLength": 1, "maxLength": 128}
_ONE = {
    "type": "object",
    "title": "One row",
    "properties": {"request_id": _REQUEST_ID, **_ROW},
    "required": ["keys"],
    "additionalProperties": False,
}
_MANY = {
    "type": "object",
    "title": "Many rows",
    "properties": {
        "request_id": _REQUEST_ID,
        "rows": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_ROWS,
            "items": {
                "type": "object",
                "properties": _ROW,
                "required": ["keys"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["rows"],
    "additionalProperties": False,
}
_LABELS = {
    "type": "object",
    "properties": {
        "labels": {
            "type": "array",
            "minItems": 1,
            "maxItems": MAX_LABELS,
            "items": {
                "type": "object",
                "properties": {
                    "prediction_id": {"type": "string", "minLength": 1, "maxLength": 256},
                    "label": {"type": "number"},
                    "label_timestamp": {"type": "string", "format": "date-time"},
                },
                "required": ["prediction_id", "label"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["labels"],
    "additionalProperties": False,
}
_FEEDBACK = {
    "type": "object",
    "properties": {
        "prediction_id": {"type": "string", "minLength": 1, "maxLength": 256},
        "comment": {
            "type": "string",
            "minLength": 1,
            "maxLength": MAX_COMMENT_CHARACTERS,
            "description": "Plain text; line breaks are taken, other control characters are not.",
        },
    },
    "required": ["prediction_id", "comment"],
    "additionalProperties": False,
}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


PREDICT_BODY = _body({"oneOf": [_MANY, _ONE]})
_PREDICT_PATH = "/v1/models/{model}/predict"
_VERSION_PATH = "/v1/models/{model}/versions/{version}/predict"
_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
_KEYS = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}
_OPEN_TO_ALL = "/health/"
_MODELS = (PredictAnswer, LabelsAnswer, FeedbackAnswer, FormAnswer, PushAnswer, ErrorAnswer)
LABELS_BODY = _body(_LABELS)
FEEDBACK_BODY = _body(_FEEDBACK)


def describe(document: dict[str, Any], *, keyed: bool) -> dict[str, Any]:
    """Add the predictions to what the app says of its other routes, and where keys are asked for."""
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for model in _MODELS:
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
    named = {
        **_PREDICT,
        "operationId": "predict_version",
        "summary": "Predict by one version, whatever its role",
    }
    named["parameters"] = [_VERSION, *_PREDICT["parameters"]]
    predictions = {_PREDICT_PATH: {"post": _PREDICT}, _VERSION_PATH: {"post": named}}
    document["paths"] = {**predictions, **document["paths"]}
    if keyed:
        document["components"]["securitySchemes"] = _KEYS
        for path, methods in document["paths"].items():
            if not path.startswith(_OPEN_TO_ALL):
                for operation in methods.values():
                    operation["security"] = [{name: []} for name in _KEYS]
    return document


def _content(model: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}


_PREDICT: dict[str, Any] = {
    "summary": "Predict one row or many",
    "operationId": "predict",
    "parameters": [
        {"name": "model", "in": "path", "required": True, "schema": {"type": "string"}},
        {
            "name": "explain",
            "in": "query",
            "description": f"What each feature added to the score, for at most {MAX_EXPLAINED_ROWS} rows. "
            "It takes a key of scope 'explain', and longer.",
            "schema": {"type": "boolean", "default": False},
        },
    ],
    **PREDICT_BODY,
    "responses": {
        "200": {"description": "The predictions, in order.", "content": _content(PredictAnswer)},
        **{
            str(status): {"description": HTTPStatus(status).phrase, "content": _content(ErrorAnswer)}
            for status in (401, 403, 404, 408, 410, 413, 422, 429, 500, 503)
        },
    },
}


def answers(success: type[BaseModel], *refusals: int) -> dict[int | str, dict[str, Any]]:
    """Describe what a route answers: one model, or an error of one of these statuses.

    By reference, not as FastAPI's ``model``: for that it imports all of pydantic's first version.
    """
    described: dict[int | str, dict[str, Any]] = {200: {"content": _content(success)}}
    for status in refusals:
        described[status] = {"description": HTTPStatus(status).phrase, "content": _content(ErrorAnswer)}
    return described
