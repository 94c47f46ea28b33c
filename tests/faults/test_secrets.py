"""Nothing of what a caller sends or holds, and no secret of ours, is ever written to a log."""

import json
import signal
import subprocess

import httpx

from knownat.contract.push_plan import PushPlan, write_push_plan
from tests.serving.made_workspace import MODEL, make_workspace
from tests.serving.running import fill_lmdb, serving
from tests.serving.test_push import SOURCES

CANARY = "canary-8d1f"
SCOPES = [word for scope in ("predict", "push", "label", "feedback") for word in ("--scope", scope)]


def test_no_secret_and_no_input_reaches_a_log(tmp_path, run_knownat):
    made = make_workspace(tmp_path, serving={"pseudonymous_keys": ["customer"]})
    fill_lmdb(made)
    repo = str(made.workspace.repo)
    key = run_knownat("keys", "add", "caller", *SCOPES, "--repo", repo).stdout.strip()
    write_push_plan(made.workspace.push_sources, PushPlan(project="shop", sources=SOURCES))
    pseudonym = tmp_path / "pseudonym.key"
    pseudonym.write_text(f"{CANARY}-pseudonyms-are-made-with-this")
    pseudonym.chmod(0o600)
    options = ("--workers", "2", "--pseudonym-key", str(pseudonym))
    with serving(made, *options, verbose=True, stderr=subprocess.PIPE) as running:
        with httpx.Client(base_url=running.url, timeout=30) as client:
            for body in BODIES:
                for held in (key, CANARY, f"{key}{CANARY}"):
                    client.post(
                        f"/v1/models/{MODEL}/predict?q={CANARY}",
                        content=body,
                        headers={"authorization": f"Bearer {held}", "x-note": CANARY, "cookie": CANARY},
                    )
                    for path in ("push/fresh_orders", f"push/{CANARY}", "labels", "feedback"):
                        client.post(f"/v1/{path}", content=body, headers={"x-api-key": held})
            client.post(f"/v1/models/{CANARY}/predict", headers={"x-api-key": key}, json={})
            client.get(f"/{CANARY}?q={CANARY}")
            answer = client.post(f"/v1/models/{MODEL}/predict", headers={"x-api-key": key}, json=GOOD)
        running.process.send_signal(signal.SIGTERM)
        out, err = running.process.communicate(timeout=60)

    files = [path for path in made.workspace.predictions.rglob("*") if path.suffix in {".bin", ".parquet"}]
    secret = (made.workspace.predictions / ".prediction_ids.key").read_bytes()
    said = out + err
    assert answer.status_code == 200
    assert "INFO" in err
    for canary in (CANARY, key, key.split("_", 2)[2], secret.hex()):
        assert canary not in said
        assert all(canary.encode() not in path.read_bytes() for path in files)


GOOD = {"keys": {"customer": 3}}
BODIES = [
    json.dumps({"keys": {"customer": CANARY}}),
    json.dumps({"keys": {"customer": 1}, CANARY: 1}),
    json.dumps({"keys": {"customer": 10**30}, "request_id": CANARY + "\n"}),
    CANARY,
    "[" * 100_000 + CANARY,
    json.dumps({"rows": [{"keys": {"customer": CANARY}}] * 50}),
]
