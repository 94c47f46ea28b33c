"""LightGBM's own C library through ctypes, without the package around it.

Importing the package costs three CPU seconds; loading its shared library costs milliseconds. A
broken model text aborts the whole process from C, so only bytes that were checked against a
manifest may come here; :mod:`knownat.scoring.trial` takes the first risk in a process of its own.
"""

import ctypes
import importlib.util
import struct
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from knownat.errors import ReleaseError, SchemaMismatch

_FLOAT64: Final = 1
_NORMAL: Final = 0
_RAW: Final = 1
_CONTRIBUTIONS: Final = 3
_ALL_ITERATIONS: Final = -1
_ROW_MAJOR: Final = 1
# More threads than one cost 90 times the latency on a busy machine; processes scale instead.
_THREADS: Final = 1
_PARAMETERS: Final = b"num_threads=%d verbosity=-1" % _THREADS

Matrix = npt.NDArray[np.float64]


@cache
def load_library() -> ctypes.CDLL:
    """Load LightGBM's shared library from where the package is installed, bound to one thread.

    Raises
    ------
    ReleaseError
        If LightGBM is not installed, or its library or the OpenMP runtime it links is missing.
    """
    found = importlib.util.find_spec("lightgbm")
    folders = list(found.submodule_search_locations or ()) if found else []
    if not folders:
        raise ReleaseError("LightGBM is not installed. Install the 'serving' or 'training' extra.")
    name = {"win32": "lib_lightgbm.dll", "darwin": "lib_lightgbm.dylib"}.get(sys.platform, "lib_lightgbm.so")
    path = next(
        (p for p in (Path(folders[0]) / "lib" / name, Path(folders[0]) / "bin" / name) if p.is_file()), None
    )
    if path is None:
        raise ReleaseError(f"{folders[0]} holds no {name}. Install the lightgbm wheel again.")
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        raise ReleaseError(
            f"{path} cannot be loaded: {error}. LightGBM needs the OpenMP runtime (Debian: libgomp1)."
        ) from error
    library.LGBM_GetLastError.restype = ctypes.c_char_p
    # Loading a model takes no parameters, and would start a thread a processor.
    library.LGBM_SetMaxThreads(ctypes.c_int(_THREADS))
    return library


class Booster:
    """A LightGBM model that predicts on one thread; rows are float64 in the schema's order.

    Safe to share between threads: LightGBM locks the model, the buffers belong to the call.
    """

    def __init__(self, handle: ctypes.c_void_p) -> None:
        self._library = load_library()
        self._handle = handle
        self._fast = ctypes.c_void_p()
        self.num_features = self._integer(self._library.LGBM_BoosterGetNumFeature)
        self.num_outputs = self._integer(self._library.LGBM_BoosterGetNumClasses)
        self._call(
            self._library.LGBM_BoosterPredictForMatSingleRowFastInit,
            handle,
            ctypes.c_int(_NORMAL),
            ctypes.c_int(0),
            ctypes.c_int(_ALL_ITERATIONS),
            ctypes.c_int(_FLOAT64),
            ctypes.c_int32(self.num_features),
            ctypes.c_char_p(_PARAMETERS),
            ctypes.byref(self._fast),
        )
        # What each single row needs, made once: a row is the bytes of its doubles.
        self._row = struct.Struct(f"={self.num_features}d")
        self._scores = ctypes.c_double * self.num_outputs
        self._written = ctypes.byref(ctypes.c_int64())
        self._predict_row = self._library.LGBM_BoosterPredictForMatSingleRowFast

    @classmethod
    def from_bytes(cls, model: bytes) -> Self:
        """Load a model text whose sha256 was checked.

        Raises
        ------
        ReleaseError
            If LightGBM refuses the text and survives to say so; some broken texts abort the process.
        """
        library = load_library()
        handle = ctypes.c_void_p()
        iterations = ctypes.c_int()
        failed = library.LGBM_BoosterLoadModelFromString(
            ctypes.c_char_p(model), ctypes.byref(iterations), ctypes.byref(handle)
        )
        if failed:
            raise ReleaseError(f"LightGBM refuses the model: {_last_error(library)}. Train the model again.")
        return cls(handle)

    def predict(self, matrix: Matrix) -> Matrix:
        """Predict n rows: shape (n,), or (n, classes) for a multiclass model.

        Raises
        ------
        SchemaMismatch
            If the matrix has another number of columns than the model.
        """
        scores = self._predict_matrix(matrix, _NORMAL, self.num_outputs)
        return scores.reshape(-1) if self.num_outputs == 1 else scores

    def predict_raw(self, matrix: Matrix) -> Matrix:
        """Predict n rows on the scale that the trees add up on: shape (n, outputs).

        Raises
        ------
        SchemaMismatch
            If the matrix has another number of columns than the model.
        """
        return self._predict_matrix(matrix, _RAW, self.num_outputs)

    def contributions(self, matrix: Matrix) -> Matrix:
        """Return what each column adds to the raw score of n rows, the base last: (n, columns + 1) an output.

        They are SHAP values, exact for trees (Lundberg and others, 2018, arXiv:1802.03888).

        Raises
        ------
        SchemaMismatch
            If the matrix has another number of columns than the model.
        ReleaseError
            If LightGBM cannot tell them, as for linear trees.
        """
        return self._predict_matrix(matrix, _CONTRIBUTIONS, self.num_outputs * (self.num_features + 1))

    def _predict_matrix(self, matrix: Matrix, kind: int, width: int) -> Matrix:
        if matrix.ndim != 2 or matrix.shape[1] != self.num_features:
            raise SchemaMismatch(
                f"The matrix has shape {matrix.shape}; the model needs (n, {self.num_features})."
            )
        rows = matrix.shape[0]
        found = np.empty((rows, width), dtype=np.float64)
        if rows:
            data = np.ascontiguousarray(matrix, dtype=np.float64)
            written = ctypes.c_int64()
            self._call(
                self._library.LGBM_BoosterPredictForMat,
                self._handle,
                data.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_int(_FLOAT64),
                ctypes.c_int32(rows),
                ctypes.c_int32(self.num_features),
                ctypes.c_int(_ROW_MAJOR),
                ctypes.c_int(kind),
                ctypes.c_int(0),
                ctypes.c_int(_ALL_ITERATIONS),
                ctypes.c_char_p(_PARAMETERS),
                ctypes.byref(written),
                found.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
            )
        return found

    def predict_one(self, values: Sequence[float]) -> list[float]:
        """Predict one row on LightGBM's fast path, without an array made: one score an output.

        Raises
        ------
        SchemaMismatch
            If there are other values than the model has columns, or one is not a number.
        """
        try:
            row = self._row.pack(*values)
        except struct.error as error:
            raise SchemaMismatch(
                f"{len(values)} values are no row of {self.num_features} numbers, which the model needs."
            ) from error
        if not self._handle:
            raise _closed()
        scores = self._scores()
        if self._predict_row(self._fast, row, self._written, scores):
            raise ReleaseError(f"LightGBM failed: {_last_error(self._library)}")
        return scores[:]

    def close(self) -> None:
        """Give the model's memory back; the booster cannot be used afterwards."""
        if self._fast:
            self._library.LGBM_FastConfigFree(self._fast)
            self._fast = ctypes.c_void_p()
        if self._handle:
            self._library.LGBM_BoosterFree(self._handle)
            self._handle = ctypes.c_void_p()

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.close()

    def _integer(self, function: Callable[..., int]) -> int:
        value = ctypes.c_int()
        self._call(function, self._handle, ctypes.byref(value))
        return value.value

    def _call(self, function: Callable[..., int], *arguments: object) -> None:
        if not self._handle:
            raise _closed()
        if function(*arguments):
            raise ReleaseError(f"LightGBM failed: {_last_error(self._library)}")


def _closed() -> ReleaseError:
    return ReleaseError("This booster was closed; load the release again.")


def _last_error(library: ctypes.CDLL) -> str:
    text: bytes | None = library.LGBM_GetLastError()
    return (text or b"no reason given").decode("utf-8", "replace")
