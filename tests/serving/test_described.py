"""The scorer keeps what its own description says, whatever it is sent: all operations, keys or none."""

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from knownat.contract.push_plan import PushPlan, write_push_plan
from knownat.stores.lmdb_rows import open_lmdb
from serving.keys import Scope, add_key
from tests.serving.made_workspace import MODEL, NOW_US, fill, make_workspace
from tests.serving.running import serving
from tests.serving.test_push import SOURCES
from tests.soak import scale

# What a schema cannot say is refused by 422: a key of another model, a time to come, an unknown column.
ANSWERS = ["2xx", "401", "403", "404", "408", "410", "413", "422", "429", "503"]
# Its check of keys takes the key for one that it made up; tests/serving/test_access.py holds them instead.
CHECKS = {"positive_data_acceptance": {"expected-statuses": ANSWERS}, "ignored_auth": {"enabled": False}}
NAMES = {"model": MODEL, "version": "1", "source": "fresh_orders"}
often = settings(
    max_examples=scale(8, 200), deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    made = make_workspace(tmp_path_factory.mktemp("made"), serving={"deadline_ms": 60_000})
    store = open_lmdb(made.workspace.repo / "data" / "online_rows")
    fill(made, store)
    write_push_plan(made.workspace.push_sources, PushPlan(project="shop", sources=SOURCES))
    yield made
    store.close()


KEYED = [False, True]


@pytest.fixture(scope="module", params=KEYED, ids=["without keys", "with keys"])
def asked(request, made, tmp_path_factory):
    """The description of a running scorer, with a key for all of it where keys are asked for."""
    options, headers = [], {}
    if request.param:
        keys = tmp_path_factory.mktemp("keys") / "keys.json"
        _, text = add_key(keys, "caller", frozenset(Scope), now_us=NOW_US, days=None)
        options, headers = ["--keys", str(keys)], {"Authorization": f"Bearer {text}"}
    with serving(made, *options) as running:
        config = schemathesis.Config.from_dict({"checks": CHECKS})
        yield schemathesis.openapi.from_url(f"{running.url}/openapi.json", config=config), headers


def name_what_is_there(case):
    """Half of the time ask for what there is: any other name is only ever a 404."""
    for part, name in NAMES.items():
        if part in case.path_parameters and len(str(case.path_parameters[part])) % 2:
            case.path_parameters[part] = name


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_of_every_operation_is_as_described(asked, mode):
    schema, headers = asked
    operations = [found.ok() for found in schema.get_all_operations()]
    if not operations or len(operations) < 6:
        raise AssertionError("the description lists too few operations")
    for operation in operations:

        @often
        @given(case=operation.as_strategy(generation_mode=mode))
        def keeps_its_word(case):
            name_what_is_there(case)
            case.call_and_validate(headers=headers)

        try:
            keeps_its_word()
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE  # nothing that is sent to it can be wrong
