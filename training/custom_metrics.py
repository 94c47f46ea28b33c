"""Metrics of a model's own, loaded from the files that its declaration names."""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np

from knownat.contract.model_spec import CustomMetric, ModelSpec
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from knownat.scoring.metrics import Custom, Vector


def load_custom_metrics(workspace: Workspace, spec: ModelSpec) -> Mapping[str, Custom]:
    """Load a model's own metrics by name.

    Each is called as ``function(labels, scores, weights)`` with float arrays of one row each.

    Raises
    ------
    ConfigError
        If a file cannot be loaded or has no such function.
    """
    return {custom.name: _load(workspace, spec, custom) for custom in spec.custom_metrics}


def _load(workspace: Workspace, spec: ModelSpec, custom: CustomMetric) -> Custom:
    file, _, name = custom.function.partition(":")
    path = workspace.models / file
    function = getattr(_module(path, spec), name, None)
    if not callable(function):
        raise ConfigError(path, [f"has no function '{name}', which metric '{custom.name}' names"])
    return _checked(cast("Custom", function), path, custom.name)


def _module(path: Path, spec: ModelSpec) -> object:
    found = importlib.util.spec_from_file_location(f"knownat_metrics_{spec.name}_{path.stem}", path)
    if found is None or found.loader is None:
        raise ConfigError(path, ["cannot be loaded as a Python file"])
    module = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
    except (ImportError, NameError, SyntaxError, OSError) as error:
        raise ConfigError(path, [f"cannot be loaded: {error}"]) from error
    return module


def _checked(function: Callable[..., object], path: Path, name: str) -> Custom:
    def measured(labels: Vector, scores: Vector, weights: Vector) -> float:
        value = function(labels, scores, weights)
        if not isinstance(value, float | int | np.floating | np.integer):
            raise ConfigError(
                path, [f"metric '{name}' returned {type(value).__name__}; it must return a number"]
            )
        return float(value)

    return measured
