"""Running a plan: our own refusals come back as our own errors, and a deadline reaches the cluster."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from knownat.errors import RepoError
from knownat.stores.deadline import Stop

_RAISED = "USER_RAISED_EXCEPTION"


@contextmanager
def running(session: SparkSession, stop: Stop) -> Iterator[None]:
    """Run Spark jobs inside this block; they are cancelled when the time is up.

    Raises
    ------
    RepoError
        If the plan refused a row, or Spark cannot read or compare what it was given.
    RetrievalTimeout
        If the time is up.
    """
    context, tag = session.sparkContext, f"knownat-{uuid.uuid4().hex}"
    context.addJobTag(tag)
    try:
        with stop.interrupting(lambda: context.cancelJobsWithTag(tag)):
            yield
    except PySparkException as error:
        stop.check()
        raise RepoError(_in_our_words(error)) from error
    finally:
        context.removeJobTag(tag)


def collected(rows: DataFrame, stop: Stop) -> pa.Table:
    """Bring a result to the driver. Raises the same as :func:`running`."""
    with running(rows.sparkSession, stop):
        found: pa.Table = rows.toArrow()
    return found


def _in_our_words(error: PySparkException) -> str:
    said = str(error)
    if error.getCondition() == _RAISED:
        ours: str = (error.getMessageParameters() or {}).get("errorMessage", said)
        return ours
    words = said.split("JVM stacktrace:", 1)[0].strip()
    return f"Spark cannot do this: {words}"
