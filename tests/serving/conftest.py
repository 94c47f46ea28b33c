from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.fakes import Service, build_service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """An app over made-up features, its log below a folder of its own."""
    built = build_service(tmp_path)
    yield built
    built.book.close()
