"""Definitions read without running them, and written so that they can be read."""

import ast
import shlex
import textwrap
from datetime import timedelta

import polars as pl
import pytest

from knownat.errors import ConfigError
from knownat.stores.added_definition import (
    Words,
    definition_files,
    find_entities,
    mark_shared,
    sharing_of,
    write_definition,
)
from knownat.stores.added_source import Proposed


def write(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else textwrap.dedent(text).encode())
    return folder


def test_only_files_that_feast_reads_are_definitions(tmp_path):
    write(
        tmp_path,
        {
            ".feastignore": "# scripts\n\n  pipelines/  \nold.py\n",
            "views.py": "",
            "team/views.py": "",
            "pipelines/run.py": "",
            "pipelines_too.py": "",
            "old.py": "",
            ".hidden/views.py": "",
            "__pycache__/views.py": "",
            "# scripts/odd.py": "",
        },
    )
    found = [path.relative_to(tmp_path).as_posix() for path in definition_files(tmp_path)]
    assert found == ["# scripts/odd.py", "pipelines_too.py", "team/views.py", "views.py"]


ENTITIES = """
    import feast
    from feast import Entity, FeatureView, ValueType
    from feast.value_type import ValueType as V

    KEY = "computed_id"
    customer = Entity(name="customer", join_keys=["customer_id"], value_type=ValueType.INT64)
    store = feast.Entity(name="store")
    narrow = Entity(name="narrow", value_type=V.INT32)
    one = another = Entity(name="chained")
    typed: Entity = Entity(name="annotated")
    computed = Entity(name="computed", join_keys=[KEY])
    nameless = Entity(join_keys=["nameless_id"])
    pair = Entity(name="pair", join_keys=["a", "b"])
    real = Entity(name="real", value_type=ValueType.FLOAT)
    view = FeatureView(name="view")
    text = "Entity"
    if customer:
        inner = Entity(name="inner")
"""


def test_an_entity_is_found_where_its_key_and_type_are_written_plainly(tmp_path):
    repo = write(
        tmp_path,
        {
            "entities.py": ENTITIES,
            "later.py": "copy = Entity(name='customer', join_keys=['customer_id'])\n",
            "broken.py": "from feast import (\n",
            "latin.py": b"# caf\xe9\nfrom feast import Entity\nx = Entity(name='x')\n",
        },
    )
    found = {key: (each.module, each.variable, each.type) for key, each in find_entities(repo).items()}
    assert found == {
        "customer_id": ("entities", "customer", "int64"),
        "store": ("entities", "store", "string"),
        "narrow": ("entities", "narrow", "int64"),
    }


def test_one_private_view_of_a_file_is_shared_wherever_its_tag_stands(tmp_path):
    text = (
        'a = {"größe": "klein", "sharing": "private"}\nb = {"sharing": "shared"}\nc = {"other": "private"}\n'
    )
    assert mark_shared(tmp_path, text) == text.replace('"sharing": "private"', '"sharing": "shared"')
    with pytest.raises(ConfigError, match="has 2 views with the tag"):
        mark_shared(tmp_path, text + text)


def test_a_file_says_one_thing_of_sharing_or_nothing():
    assert sharing_of('a = {"sharing": "shared"}\nb = {"sharing": "shared"}') == "shared"
    assert sharing_of('a = {"sharing": "shared"}\nb = {"sharing": "private"}') is None
    assert sharing_of("a = {}") is None


PROPOSED = Proposed(
    rows=pl.DataFrame({"shop": ["a"], "n": [1]}),
    keys={"shop": "string"},
    columns={"n": 'Größe "n"'},
    event_time="at",
    known_at=None,
    known_after=timedelta(0),
    remarks=(),
)


@pytest.mark.parametrize(
    "said", ['a "quoted" word', "an 'other' one", "back\\new", '"""', "both ' and \"", "\n"]
)
def test_whatever_a_person_says_stands_in_the_definition_as_it_was_said(said):
    words = Words(
        view="shop_n",
        owner="ana@example.org",
        description=said,
        descriptions={"n": said},
        file="n.csv",
        sha256="0" * 64,
        command=("knownat", "add-source", said),
    )
    tree = ast.parse(write_definition(PROPOSED, words, {}))
    texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    assert texts.count(said) == 2
    assert 'Größe "n"' in texts
    made_by = f"Made by: {shlex.join(words.command)}".replace('"""', "'''")
    assert made_by in ast.get_docstring(tree, clean=False)
