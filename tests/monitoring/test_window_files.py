import pyarrow as pa

from knownat.contract.report_files import TRAINING_VALUES
from monitoring.window_files import read_truth, write_truth

TRUTH = pa.table({"prediction_id": ["a", "b"], "version": ["1", "1"], "orders__value": [1.0, None]})


def test_what_training_would_have_seen_is_kept_until_nothing_has_to_be_mended(tmp_path):
    folder = tmp_path / "not" / "there"
    assert read_truth(folder) is None

    write_truth(folder, TRUTH)
    assert read_truth(folder).equals(TRUTH.drop(["version"]))
    assert [path.name for path in folder.iterdir()] == [TRAINING_VALUES]

    write_truth(folder, None)
    assert read_truth(folder) is None
    assert list(folder.iterdir()) == []
