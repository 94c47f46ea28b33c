"""A Spark session whose settings cannot change what a value means."""

import os
import sys
from collections.abc import Mapping

from pyspark.sql import SparkSession

# Times are UTC whatever the machine's zone, arithmetic that overflows is an error, and `Origin` is
# not `origin`. What Spark writes can be read back exactly.
PINNED = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.caseSensitive": "true",
    "spark.sql.timestampType": "TIMESTAMP_LTZ",
    "spark.sql.parquet.inferTimestampNTZ.enabled": "true",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.parquet.binaryAsString": "false",
    "spark.sql.parquet.int96AsTimestamp": "true",
    "spark.sql.legacy.parquet.nanosAsLong": "false",
    # "01" in a folder's name is text until something declares it a number.
    "spark.sql.sources.partitionColumnTypeInference.enabled": "false",
    "spark.sql.execution.arrow.useLargeVarTypes": "false",
}


def open_session(settings: Mapping[str, str]) -> SparkSession:
    """Open a session of our own: on the application that runs already, or on a new one.

    Temporary views and settings are not shared with any other session, so two repos whose sources
    have one name do not meet. ``settings`` start an application; on a running one, Spark takes
    those of SQL only.
    """
    running = SparkSession.getActiveSession()
    session = (running or _start(settings)).newSession()
    for name, value in settings.items():
        if running is not None and not session.conf.isModifiable(name):
            continue
        if session.conf.isModifiable(name):
            session.conf.set(name, value)
    for name, value in PINNED.items():
        session.conf.set(name, value)
    return session


def _start(settings: Mapping[str, str]) -> SparkSession:
    if settings.get("spark.master", "local").startswith("local"):
        # The workers are on this machine and need this very environment, not the first python3.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = SparkSession.builder.appName("knownat")
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()
