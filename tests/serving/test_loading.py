"""A release is opened only as it was deployed, after another process has survived it."""

import pytest

from knownat.contract.release import Deployed
from knownat.errors import ReleaseError
from serving.features import open_feature_store
from serving.loading import ReleaseLoader
from serving.prediction_log import LogBook
from tests.serving.parcels import MODEL, make_parcels


@pytest.fixture(scope="module")
def parcels(tmp_path_factory):
    made = make_parcels(tmp_path_factory.mktemp("parcels"))
    made.publish("2", opposite=True)
    return made


def load(parcels, folder, *, trial=lambda path, digest: None, model=MODEL, deployed=None):
    book = LogBook(folder)
    workspace = parcels.workspace
    loader = ReleaseLoader(workspace.releases, open_feature_store(workspace.repo), book, trial=trial)
    try:
        return loader(model, deployed or parcels.deployed("1"))
    finally:
        book.close()


def test_what_is_tried_is_the_release_and_the_digest_that_were_deployed(parcels, tmp_path):
    tried = []

    served = load(parcels, tmp_path, trial=lambda path, digest: tried.append((path, digest)))

    assert tried == [(parcels.workspace.releases / MODEL / "1", parcels.releases["1"].digest)]
    assert (served.name, served.version, served.digest) == (MODEL, "1", parcels.releases["1"].digest)


def test_what_fails_its_trial_is_not_opened(parcels, tmp_path):
    def refuse(path, digest):
        raise ReleaseError(f"{path}: the trial load was killed by SIGABRT.")

    with pytest.raises(ReleaseError, match="killed by SIGABRT"):
        load(parcels, tmp_path, trial=refuse)
    assert list(tmp_path.iterdir()) == []


def test_what_is_another_release_than_the_deployed_one_is_refused_also_after_its_trial(parcels, tmp_path):
    promoted = Deployed(version="1", digest=parcels.releases["2"].digest)

    with pytest.raises(ReleaseError, match="changed after promotion"):
        load(parcels, tmp_path, deployed=promoted)


def test_the_release_of_another_model_is_refused_by_both_names(parcels, tmp_path):
    (parcels.workspace.releases / "other").symlink_to(parcels.workspace.releases / MODEL)

    with pytest.raises(ReleaseError, match=r"is a release of 'late_parcel', not of 'other'\."):
        load(parcels, tmp_path, model="other")
