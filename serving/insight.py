"""What lets people see into a model and talk back: explanations, feedback and the preview page."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from fastapi import FastAPI
from fastapi.responses import HTMLResponse

from serving.explain_route import ROUTE, ExplainRoute
from serving.explaining import Explaining
from serving.feedback import Feedback
from serving.feedback_route import FeedbackRoute
from serving.forms import FormAnswer, Forms
from serving.keys import Scope
from serving.lanes import Lane
from serving.openapi import FEEDBACK_BODY, FeedbackAnswer, answers
from serving.predict_route import PredictRoute
from serving.prediction_log import LogBook
from serving.preview_route import PATHS, PreviewRoutes, path_parameters

_FEEDBACK_SECONDS = 30.0


@dataclass(frozen=True)
class Folders:
    """Where releases are read for explanations and bundles, and where bundles go."""

    releases: Path
    feedback: Path

    @classmethod
    def beside(cls, log: Path) -> Self:
        """Name the folders beside a prediction log, as a workspace has them."""
        return cls(log.parent / "releases", log.parent / "feedback")


@dataclass(frozen=True)
class Insight:
    """The routes, and the threads that they wait for."""

    explain: ExplainRoute
    feedback: FeedbackRoute
    previews: PreviewRoutes

    @classmethod
    def beside(cls, predict: PredictRoute, book: LogBook, folders: Folders | None = None) -> Self:
        """Make the routes from what the predictions' route stands on."""
        folders, door = folders or Folders.beside(book.root), predict.door
        explaining = Explaining(folders.releases)
        explain = ExplainRoute(
            predict=predict,
            door=replace(
                door, route=ROUTE, scope=Scope.EXPLAIN, seconds=lambda _model, _question: explaining.seconds
            ),
            answering=predict.answering,
            explaining=explaining,
        )
        ids, clock = predict.answering.ids, door.clock
        feedback = FeedbackRoute(
            access=door.access,
            feedback=Feedback(folders.feedback, book.root, folders.releases, door.models, ids),
            clock=clock,
            metrics=door.metrics,
            bodies=door.bodies,
            lane=Lane("feedback", deadline=_FEEDBACK_SECONDS),
        )
        previews = PreviewRoutes(door.models, door.access, door.metrics, explaining, Forms(folders.releases))
        return cls(explain, feedback, previews)

    def add_to(self, app: FastAPI) -> None:
        """Add the routes but the explanations', which stand before the app's stack as the predictions do."""
        app.post(
            "/v1/feedback",
            summary="Say what is odd about a prediction; it is kept with all that made it",
            response_model=None,
            responses=answers(FeedbackAnswer, 401, 403, 404, 408, 413, 422, 429, 503),
            openapi_extra=FEEDBACK_BODY,
            name="feedback",
        )(self.feedback.__call__)
        for number, path in enumerate(PATHS):
            parameters = path_parameters(path)
            app.get(
                f"{path}/form",
                summary="What a release is asked, with examples, and as what it answers here",
                response_model=None,
                responses=answers(FormAnswer, 401, 403, 404, 410, 429, 500, 503),
                openapi_extra={"parameters": parameters},
                name=f"form_{number}",
            )(self.previews.form)
            app.get(
                f"{path}/preview",
                summary="A page to ask a release by hand",
                response_class=HTMLResponse,
                openapi_extra={"parameters": parameters},
                name=f"preview_{number}",
            )(self.previews.preview)

    def close(self) -> None:
        """Let the threads go."""
        self.explain.explaining.close()
        self.feedback.lane.close()
