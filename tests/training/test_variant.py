import pytest

from knownat.contract.workspace import Workspace
from knownat.errors import ConfigError
from training.variant import lay_out_variant, read_variant

TEXT = """
name = "leaky"
description = "Stamped too early."

[[change]]
files = "pipelines/*.sql"
find = "known_at AS"
replace = "paid_at AS"
why = "It was paid before anyone knew."
"""


@pytest.fixture
def workspace(tmp_path) -> Workspace:
    repo = tmp_path / "feature_repo"
    (repo / "pipelines").mkdir(parents=True)
    (repo / "data").mkdir()
    (repo / "data" / "orders.parquet").write_text("large")
    for name in ("orders", "visits"):
        (repo / "pipelines" / f"{name}.sql").write_text(f"SELECT known_at AS event FROM {name}")
    return Workspace.at(repo)


def variant(folder, text=TEXT):
    folder.mkdir(exist_ok=True)
    (folder / "variant.toml").write_text(text)
    return read_variant(folder)


def test_a_variant_differs_by_its_words_alone(workspace, tmp_path):
    made = lay_out_variant(workspace, variant(tmp_path / "leaky"), tmp_path / "work")
    assert made.repo == tmp_path / "work" / "leaky" / "feature_repo"
    sql = {path.name: path.read_text() for path in (made.repo / "pipelines").iterdir()}
    assert sql == {
        "orders.sql": "SELECT paid_at AS event FROM orders",
        "visits.sql": "SELECT paid_at AS event FROM visits",
    }
    assert (workspace.repo / "pipelines" / "orders.sql").read_text() == "SELECT known_at AS event FROM orders"


def test_what_was_built_is_kept_and_definitions_are_made_anew(workspace, tmp_path):
    asked = variant(tmp_path / "leaky")
    made = lay_out_variant(workspace, asked, tmp_path / "work")
    assert not made.data.exists()
    made.data.mkdir()
    (made.data / "kept.parquet").write_text("built")
    (made.repo / "pipelines" / "gone.sql").write_text("old")
    again = lay_out_variant(workspace, asked, tmp_path / "work")
    assert (again.data / "kept.parquet").read_text() == "built"
    assert not (again.repo / "pipelines" / "gone.sql").exists()


def test_words_that_do_not_stand_there_once_are_named(workspace, tmp_path):
    (workspace.repo / "pipelines" / "visits.sql").write_text("SELECT known_at AS a, known_at AS b")
    (workspace.repo / "pipelines" / "orders.sql").write_text("SELECT 1")
    with pytest.raises(ConfigError) as caught:
        lay_out_variant(workspace, variant(tmp_path / "leaky"), tmp_path / "work")
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "pipelines/orders.sql",
        "pipelines/visits.sql",
    ]
    none = variant(tmp_path / "none", TEXT.replace("pipelines/*.sql", "views/*"))
    with pytest.raises(ConfigError, match=r"no file is called 'views/\*'"):
        lay_out_variant(workspace, none, tmp_path / "work")


@pytest.mark.parametrize("text", ["name = 5", "name = 'x'", TEXT + "more = 1", "[["])
def test_a_declaration_that_cannot_be_used_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match=r"variant\.toml"):
        variant(tmp_path / "leaky", text)


def test_a_folder_without_a_declaration_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        read_variant(tmp_path)
