"""What a team writes first: Feast's online store, pandas, LightGBM, FastAPI. No log, no ttl, no keys."""

import json
import os
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from fastapi import FastAPI
from feast import FeatureStore
from pydantic import BaseModel


class Ask(BaseModel):
    customers: list[int]


class AskAboutFlights(BaseModel):
    rows: list[dict[str, Any]]


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


def create_flights_app() -> FastAPI:
    """Serve the flights' model; its texts are given the numbers that it was trained on."""
    store = FeatureStore(repo_path=os.environ["PEER_REPO"])
    service = store.get_feature_service(os.environ["PEER_SERVICE"])
    booster = lightgbm.Booster(model_file=os.environ["PEER_MODEL"])
    columns = json.loads(Path(os.environ["PEER_COLUMNS"]).read_text())
    app = FastAPI()

    @app.post("/predict")
    def predict(ask: AskAboutFlights) -> Scores:
        frame = store.get_online_features(service, ask.rows, full_feature_names=True).to_df()
        matrix = np.column_stack([_numbers(frame[name], categories) for name, categories in columns])
        return Scores(scores=booster.predict(matrix, num_threads=1).tolist())

    return app


def _numbers(column: pd.Series, categories: list[str]) -> np.ndarray:
    if not categories:
        return column.to_numpy(dtype=float, na_value=np.nan)
    codes = pd.Categorical(column, categories=categories).codes.astype(float)
    return np.where(codes < 0, np.nan, codes)
