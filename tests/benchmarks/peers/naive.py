"""What a team writes first: Feast's online store, pandas, LightGBM, FastAPI. No log, no ttl, no keys."""

import os

import lightgbm
from fastapi import FastAPI
from feast import FeatureStore
from pydantic import BaseModel


class Ask(BaseModel):
    customers: list[int]


class Scores(BaseModel):
    scores: list[float]


def create_app() -> FastAPI:
    """Serve the model and repo that the environment names."""
    store = FeatureStore(repo_path=os.environ["PEER_REPO"])
    service = store.get_feature_service(os.environ["PEER_SERVICE"])
    booster = lightgbm.Booster(model_file=os.environ["PEER_MODEL"])
    columns = os.environ["PEER_COLUMNS"].split(",")
    app = FastAPI()

    @app.post("/predict")
    def predict(ask: Ask) -> Scores:
        rows = [{"customer": customer} for customer in ask.customers]
        frame = store.get_online_features(service, rows).to_df()
        return Scores(scores=booster.predict(frame[columns], num_threads=1).tolist())

    return app
