"""What a team writes first for a service of many views: as ``naive``, with text as numbers."""

import json
import os

import lightgbm
import numpy as np
from fastapi import FastAPI
from feast import FeatureStore
from pydantic import BaseModel


class Ask(BaseModel):
    rows: list[dict[str, int | str]]


class Scores(BaseModel):
    scores: list[float]


def create_app() -> FastAPI:
    """Serve the model and repo that the environment names."""
    store = FeatureStore(repo_path=os.environ["PEER_REPO"])
    service = store.get_feature_service(os.environ["PEER_SERVICE"])
    booster = lightgbm.Booster(model_file=os.environ["PEER_MODEL"])
    columns = json.loads(os.environ["PEER_COLUMNS"])
    names = [name for name, _ in columns]
    numbers = {
        name: {text: i for i, text in enumerate(texts)} for name, texts in columns if texts is not None
    }
    app = FastAPI()

    @app.post("/predict")
    def predict(ask: Ask) -> Scores:
        frame = store.get_online_features(service, ask.rows).to_df()[names]
        for name, known in numbers.items():
            frame[name] = frame[name].map(known)
        return Scores(scores=booster.predict(frame.astype(np.float64), num_threads=1).tolist())

    return app
