"""The shop with everything a catalogue tells of: a declared model, a serving release, rows online."""

import shutil
from pathlib import Path

import pyarrow as pa

from knownat.contract.profile import Layout
from knownat.contract.profile_file import write_profile
from knownat.contract.release import (
    Deployed,
    Deployment,
    ModelDeployment,
    publish_release,
    stage_release,
    write_deployment,
)
from knownat.contract.schema import Column, FeatureSchema
from knownat.contract.workspace import Workspace
from knownat.stores.history import historical_frame
from knownat.stores.materialization import materialize
from knownat.stores.plan import compile_read_plan
from knownat.stores.repo import open_repo
from tests.scoring.small_release import make_spec, manifest
from tests.stores import shop

COLUMNS = (
    Column(name="customer_orders__order_value_eur_30d", dtype="float64"),
    Column(name="customer_orders__last_channel", dtype="category", categories=()),
    Column(name="order_age__order_age_s", dtype="float64"),
)
MODEL = """
name = "churn"
description = "Will this customer leave?"
owner = "crm@example.org"
runbook = "docs/churn.md"
task = "binary"
feature_service = "churn"
metric = "auc"
[examples]
sql = "churn.sql"
keys = { customer_id = "int64", home_region = "string" }
inputs = { question_us = "int64" }
[time]
cutoff = 2024-03-20T00:00:00Z
validation_days = 14
gap_hours = 168
test_days = 20
"""


def catalogue_shop(applied: Path, home: Path) -> Path:
    """Copy an applied shop, declare a model in it, deploy a release and materialize."""
    repo = shutil.copytree(applied, home / "feature_repo")
    (repo / "models").mkdir()
    (repo / "models" / "churn.toml").write_text(MODEL)
    (repo / "models" / "churn.sql").write_text("SELECT 1")
    opened = open_repo(repo)
    frame = historical_frame(opened, shop.examples(), "churn")
    _deploy(Workspace.at(repo), opened, frame)
    materialize(opened, until=shop.at(200), views=["customer_orders"])
    return repo


def _deploy(workspace: Workspace, opened, frame: pa.Table) -> None:
    plan, _ = compile_read_plan(opened, "churn", question_time_input="question_us")
    said = manifest("3", model="churn", feature_schema=FeatureSchema(columns=COLUMNS))
    said |= {"spec": make_spec(name="churn", owner="crm@example.org", runbook="docs/churn.md")}
    with stage_release(workspace.releases / "churn" / "3") as staged:
        (staged / "read_plan.json").write_text(plan.model_dump_json())
        write_profile(Layout.fit(frame, COLUMNS).count(frame), staged / "profile.parquet")
        (staged / "card.html").write_text("the card")
        release = publish_release(staged, workspace.releases / "churn" / "3", said)
    champion = Deployed(version="3", digest=release.digest)
    write_deployment(workspace.deployment, Deployment(models={"churn": ModelDeployment(champion=champion)}))
