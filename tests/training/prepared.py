"""Questions that were joined already, without a repo: what tuning and worth begin with."""

from knownat.contract.read_plan import PlanFeature, PlanKey, PlanTransform, PlanView, ReadPlan
from tests.training.made import COLUMNS, make_frame, make_spec
from training.certificate import certify
from training.dataset import lay_out
from training.frame import Joined
from training.pipeline import Prepared
from training.split import keep_answered, split_by_time

KEY = PlanKey(view_key="parcel_id", request_key="parcel_id", dtype="int64")
BODY = (
    "def parcel(given):\n    return {'kind': given['kind'], 'weight': [w * 1.0 for w in given['weight']]}\n"
)
PLAN = ReadPlan(
    project="parcels",
    feature_service="late_parcel",
    views=(
        PlanView(
            name="depot",
            keys=(KEY,),
            ttl_us=0,
            features=tuple(
                PlanFeature(name=name, dtype=dtype)
                for name, dtype in (("load", "float64"), ("delay", "float64"), ("open", "bool"))
            ),
        ),
    ),
    transforms=(
        PlanTransform(
            name="parcel",
            file="parcel.py",
            function="parcel",
            inputs={"kind": "parcel__kind", "weight": "parcel__weight"},
            outputs=(PlanFeature(name="kind", dtype="string"), PlanFeature(name="weight", dtype="float64")),
        ),
    ),
    output_columns=COLUMNS,
)


def make_prepared(task: str = "binary", **changes: object) -> Prepared:
    spec, frame = make_spec(task, **changes), make_frame(task, rows=1_500)
    frame = keep_answered(frame, spec.time)
    fold = split_by_time(frame, spec)
    rows = frame
    for what in ("event_timestamp", "created_timestamp"):
        rows = rows.append_column(f"depot__{what}", frame["event_timestamp"])
    rows = rows.append_column("depot__status", [["present"] * len(frame)])
    joined = Joined(frame, rows, PLAN, {"parcel.py": BODY})
    data = lay_out(frame, COLUMNS, labels=frame["label"].to_numpy().copy(), fold=fold)
    return Prepared(spec, frame, joined, data, certify(spec, joined, fold, all_examples=frame))
