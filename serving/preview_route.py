"""``GET .../preview``, a page to ask a model by hand, and ``GET .../form``, what the page asks with."""

from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from knownat.errors import ReleaseError
from serving.access import Access
from serving.errors import ScoringFailed
from serving.explaining import Explaining
from serving.forms import FormAnswer, Forms
from serving.keys import Scope
from serving.lanes import LaneFailed
from serving.lineup import Lineup
from serving.metrics import Metrics
from serving.models import ServedModels
from serving.preview_page import PreviewPage
from serving.responses import JSON
from serving.served import ServedModel

PATHS = ("/v1/models/{model}", "/v1/models/{model}/versions/{version}")


@dataclass(frozen=True)
class PreviewRoutes:
    """The page is anyone's, since it holds nothing; the form is for keys that may explain."""

    models: ServedModels
    access: Access
    metrics: Metrics
    explaining: Explaining
    forms: Forms
    page: PreviewPage = field(default_factory=PreviewPage.build)

    async def preview(self, _: Request) -> Response:
        """Give the page; whether the model is there it finds out itself."""
        return Response(self.page.content, media_type="text/html", headers=self.page.headers)

    async def form(self, request: Request) -> Response:
        """Tell a release's fields, examples and standing."""
        self.access.admit(request.headers.raw, Scope.EXPLAIN)
        name, version = request.path_params["model"], request.path_params.get("version")
        lineup = self.models.get(name)
        model = lineup.champion if version is None else lineup.version(version)
        try:
            form = await self.explaining.run(lambda: self.forms.of(model))
        except (ReleaseError, LaneFailed) as error:
            raise ScoringFailed(f"The release of '{name}' {model.version} cannot be read.") from error
        role = role_of(lineup, model)
        told = FormAnswer(**form.model_dump(), role=role, production=role == "champion")
        self.metrics.observe_request("form", name, 200)
        return Response(told.model_dump_json(), media_type=JSON, headers={"cache-control": "no-store"})


def role_of(lineup: Lineup, model: ServedModel) -> str:
    """Say as what a version answers: ``candidate`` where nothing was promoted."""
    if not lineup.promoted:
        return "candidate"
    if model is lineup.champion:
        return "champion"
    if model is lineup.challenger:
        return "challenger"
    return "shadow" if model in lineup.shadows else "pinned"


def path_parameters(path: str) -> list[dict[str, Any]]:
    """Describe the names in a path."""
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in ("model", "version")
        if f"{{{name}}}" in path
    ]
