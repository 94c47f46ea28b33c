"""Ids that every scorer of one installation knows, and nobody else can make."""

from pathlib import Path
from stat import S_IMODE

import pytest

from knownat.errors import LogError
from serving.prediction_ids import KEY_FILE, open_prediction_ids

ONE, OTHER = "1" * 16, "2" * 16


def test_an_id_is_known_to_every_process_of_one_log_and_to_no_other(tmp_path):
    made = open_prediction_ids(tmp_path / "a", ONE).issue("basket", 3)

    assert [i.rpartition(".")[0] for i in made] == [f"basket.{ONE}{n:010x}" for n in range(3)]
    assert all(open_prediction_ids(tmp_path / "a", OTHER).knows(i) for i in made)
    assert not any(open_prediction_ids(tmp_path / "b", ONE).knows(i) for i in made)


def test_an_id_with_any_character_changed_is_not_known(tmp_path):
    ids = open_prediction_ids(tmp_path, ONE)
    made = ids.issue_one("basket")

    changed = {made[:i] + ("0" if c != "0" else "1") + made[i + 1 :] for i, c in enumerate(made)}
    assert not any(map(ids.knows, {*changed, made[:-1], made + "0", "", "é." + made}))


def test_of_two_scorers_that_start_at_once_one_key_stays(tmp_path, monkeypatch):
    first = open_prediction_ids(tmp_path, ONE)
    monkeypatch.setattr(Path, "exists", lambda path: False)  # As both looked before either made it.

    second = open_prediction_ids(tmp_path, OTHER)

    assert second.knows(first.issue_one("basket"))
    assert [path.name for path in tmp_path.iterdir()] == [KEY_FILE]


def test_a_key_is_nobody_elses_and_never_made_twice(tmp_path):
    open_prediction_ids(tmp_path, ONE)
    key = (tmp_path / KEY_FILE).read_bytes()
    open_prediction_ids(tmp_path, OTHER)

    assert (len(key), S_IMODE((tmp_path / KEY_FILE).stat().st_mode)) == (32, 0o600)
    assert (tmp_path / KEY_FILE).read_bytes() == key


def test_a_key_that_is_none_or_cannot_be_made_is_named(tmp_path):
    (tmp_path / KEY_FILE).write_bytes(b"x" * 31)

    with pytest.raises(LogError, match="is not a key of 32 bytes; restore it"):
        open_prediction_ids(tmp_path, ONE)
    with pytest.raises(LogError, match="can be neither read nor made: Not a directory"):
        open_prediction_ids(tmp_path / KEY_FILE / "below", ONE)
