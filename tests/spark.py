"""One small Spark for every test that needs one: two threads, few partitions, on a Berlin clock."""

import os
import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SETTINGS = {
    "spark.master": "local[2]",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "ERROR",
    "spark.sql.shuffle.partitions": "2",
    "spark.driver.memory": "2g",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    # No test may pass because the machine happens to be in UTC.
    "spark.driver.extraJavaOptions": "-Duser.timezone=Europe/Berlin -XX:TieredStopAtLevel=1",
}


def open_spark() -> "SparkSession":
    """Open a session on the one application of this process; left out, by name, where it cannot run."""
    if find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed; `make spark` installs it")
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.skip("Java is not installed; Spark needs 17 or newer")
    from knownat.stores.spark_session import open_session

    return open_session(SETTINGS)
