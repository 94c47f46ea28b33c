"""Feedback where the log, the release or the disk is not as it was: told, and never half kept."""

import pytest

from knownat.contract.feedback import list_bundles
from serving import feedback
from tests.serving.parcels import MODEL, asking, make_parcels


@pytest.fixture
def parcels(tmp_path):
    return make_parcels(tmp_path)


@pytest.fixture
def asked(parcels):
    with asking(parcels) as made:
        yield made


def say(asked, prediction_id):
    answer = asked.post("/v1/feedback", json={"prediction_id": prediction_id, "comment": "odd"})
    code = answer.json()["error"]["code"] if answer.status_code != 200 else None
    return answer.status_code, code


def kept(asked):
    return list(list_bundles(asked.parcels.workspace.feedback))


def test_a_segment_that_cannot_be_read_is_told(asked, parcels):
    one = asked.predicted()
    asked.book.close()
    (segment,) = (parcels.workspace.predictions / MODEL / "1").glob("segment-*")
    segment.write_bytes(b"PAR1")

    assert say(asked, one) == (503, "log_unavailable")
    assert kept(asked) == []


def test_what_fails_without_a_name_is_told_as_a_comment_that_was_not_kept(asked, monkeypatch):
    one = asked.predicted()

    def fail(root, prediction_id):
        raise RuntimeError("nobody thought of it")

    monkeypatch.setattr(feedback, "find_prediction", fail)

    assert say(asked, one) == (503, "log_unavailable")


def test_a_bundle_names_the_release_that_answered_though_its_file_was_changed_since(asked, parcels):
    one = asked.predicted()
    manifest = parcels.releases["1"].path / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"training_rows": 400', '"training_rows": 401'))

    assert say(asked, one) == (200, None)
    assert kept(asked)[0].made_by.digest == parcels.releases["1"].digest


@pytest.mark.parametrize("left", ["nothing", "half"])
def test_a_bundle_is_kept_though_the_release_is_gone(asked, parcels, left):
    one = asked.predicted()
    manifest = parcels.releases["1"].path / "manifest.json"
    content = manifest.read_text()
    manifest.unlink()
    if left == "half":
        manifest.write_text(content[: len(content) // 2])

    assert say(asked, one) == (200, None)
    made_by = kept(asked)[0].made_by
    assert (made_by.digest, made_by.lightgbm) == (parcels.releases["1"].digest, None)
