"""The file of keys: hashes only, changed by one at a time, broken files by name."""

import errno
import json
import os
import stat
import threading
import traceback
from datetime import timedelta

import pytest

from knownat.clock import from_us
from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from serving.commands import find_keys
from serving.keys import KeyRing, Scope, add_key, read_keys, revoke_key
from tests.serving.fakes import NOW_US

DAY_US = 86_400_000_000
PREDICT = frozenset({Scope.PREDICT})


def test_a_key_is_kept_as_its_hash_and_opens_what_it_was_made_for(tmp_path):
    path = tmp_path / "keys.json"

    made, text = add_key(path, "checkout", PREDICT, now_us=NOW_US, days=None)

    kept = path.read_text()
    assert text not in kept
    assert text.split("_", 2)[2] not in kept
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_keys(path).keys == (made,)
    assert text.split("_")[:2] == ["kna", made.id]
    assert made.opened_by(text)
    assert not made.opened_by(text[:-1])
    assert not made.opened_by("")
    assert not made.opened_by("\udcff")


def test_a_key_holds_until_its_day_and_until_it_is_revoked(tmp_path):
    path = tmp_path / "keys.json"
    short, _ = add_key(path, "checkout", PREDICT, now_us=NOW_US, days=1)
    long, _ = add_key(path, "checkout", PREDICT, now_us=NOW_US, days=None)

    revoked = revoke_key(path, long.id, now_us=NOW_US + 5)
    again = revoke_key(path, long.id, now_us=NOW_US + 9)

    assert short.not_after == from_us(NOW_US) + timedelta(days=1)
    assert short.usable(NOW_US + DAY_US - 1)
    assert not short.usable(NOW_US + DAY_US)
    assert long.usable(NOW_US + 1_000 * DAY_US)
    assert not revoked.usable(NOW_US)
    assert [key.usable(NOW_US) for key in read_keys(path).keys] == [True, False]
    assert again.revoked_at == revoked.revoked_at == from_us(NOW_US + 5)
    assert [key.id for key in read_keys(path).keys] == [short.id, long.id]


def test_keys_made_at_once_are_all_kept(tmp_path):
    path = tmp_path / "keys.json"
    threads = [
        threading.Thread(target=lambda n=n: add_key(path, f"team {n}", PREDICT, now_us=NOW_US, days=None))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {key.name for key in read_keys(path).keys} == {f"team {n}" for n in range(8)}
    assert sorted(p.name for p in tmp_path.iterdir()) == [".keys.json.lock", "keys.json"]


def test_keys_that_were_named_and_are_not_there_are_not_taken_for_none(tmp_path):
    workspace, named = Workspace.at(tmp_path / "repo"), tmp_path / "mistyped.json"

    with pytest.raises(ConfigError, match=r"mistyped\.json:\n- there are no keys; make one"):
        find_keys(workspace, named)
    assert find_keys(workspace, None) is None
    add_key(workspace.home / "keys.json", "checkout", PREDICT, now_us=NOW_US, days=None)
    assert find_keys(workspace, None) == (workspace.home / "keys.json").resolve()


def test_no_file_is_no_keys(tmp_path):
    assert read_keys(tmp_path / "keys.json") == KeyRing()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "the file is not as it was written"),
        ('{"format": 2}', "format is not as"),
        ('{"keys": [{"id": "canary-secret"}]}', "keys.0.id is not as"),
        ('{"keys": [], "more": "canary-secret"}', "more is not as"),
    ],
)
def test_a_broken_file_is_named_and_never_repeated(tmp_path, content, says):
    (tmp_path / "keys.json").write_text(content)

    with pytest.raises(ConfigError, match=says) as refused:
        read_keys(tmp_path / "keys.json")
    assert "canary-secret" not in "".join(traceback.format_exception(refused.value))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "keys.json").mkdir()

    with pytest.raises(ConfigError, match=r"keys\.json:\n- cannot be read: Is a directory"):
        read_keys(tmp_path / "keys.json")


def test_a_disk_that_takes_no_key_leaves_the_keys_before_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "keys.json"
    made, _ = add_key(path, "checkout", PREDICT, now_us=NOW_US, days=None)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
        add_key(path, "search", PREDICT, now_us=NOW_US, days=None)
    with pytest.raises(ConfigError, match="cannot be written"):
        revoke_key(path, made.id, now_us=NOW_US)
    monkeypatch.undo()

    assert read_keys(path).keys == (made,)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".keys.json.lock", "keys.json"]


@pytest.mark.parametrize(("name", "scopes"), [("", PREDICT), ("a\nb", PREDICT), ("team", frozenset())])
def test_a_key_needs_a_name_and_a_scope(tmp_path, name, scopes):
    with pytest.raises(ConfigError):
        add_key(tmp_path / "keys.json", name, scopes, now_us=NOW_US, days=None)
    assert not (tmp_path / "keys.json").exists()


def test_an_unknown_key_cannot_be_revoked(tmp_path):
    with pytest.raises(ConfigError, match="no key 'ffffffff'; there are none"):
        revoke_key(tmp_path / "keys.json", "ffffffff", now_us=NOW_US)


def test_the_command_makes_lists_and_revokes(tmp_path, run_knownat):
    keys = str(tmp_path / "keys.json")
    text = run_knownat("keys", "add", "checkout", "--scope", "predict", "--scope", "label",
                       "--days", "90", "--keys", keys).stdout.strip()  # fmt: skip
    identity = text.split("_")[1]
    made = json.loads(run_knownat("keys", "list", "--json", "--keys", keys).stdout)
    revoked = run_knownat("keys", "revoke", identity, "--keys", keys)
    missing = run_knownat("keys", "revoke", "ffffffff", "--keys", keys)

    assert read_keys(tmp_path / "keys.json").keys[0].opened_by(text)
    assert made[0]["id"] == identity
    assert (made[0]["name"], made[0]["scopes"]) == ("checkout", "label,predict")
    assert made[0]["state"].startswith("good until ")
    assert revoked.stdout.startswith(f"{identity} (checkout) is revoked ")
    assert (missing.returncode, missing.stdout) == (2, "")
