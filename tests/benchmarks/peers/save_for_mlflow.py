"""Save a model text for ``mlflow models serve``: ``python save_for_mlflow.py MODEL_TEXT FOLDER``."""

import sys

import lightgbm
import mlflow.lightgbm

if __name__ == "__main__":
    booster = lightgbm.Booster(model_file=sys.argv[1], params={"num_threads": 1})
    mlflow.lightgbm.save_model(booster, sys.argv[2])
