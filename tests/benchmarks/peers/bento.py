"""The model as a BentoML service: prediction only, its features come with the request."""

import os

import bentoml
import lightgbm
import numpy as np


@bentoml.service(workers=int(os.environ["PEER_WORKERS"]), traffic={"timeout": 60})
class Basket:
    def __init__(self) -> None:
        self.booster = lightgbm.Booster(model_file=os.environ["PEER_MODEL"])

    @bentoml.api
    def predict(self, rows: np.ndarray) -> np.ndarray:
        return self.booster.predict(rows, num_threads=1)
