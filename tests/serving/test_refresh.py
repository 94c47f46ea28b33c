"""What is deployed is taken up by one thread at a time, and whoever asks meanwhile sees what came of it."""

import threading

from knownat.errors import ReleaseError
from serving.models import ServedModels
from tests.serving.fakes import deploy


def test_who_refreshes_while_another_thread_does_waits_for_what_comes_of_it(tmp_path):
    loading, go_on = threading.Event(), threading.Event()

    def load(model, deployed):
        loading.set()
        go_on.wait()
        raise ReleaseError("it cannot be loaded")

    deploy(tmp_path)
    models = ServedModels(tmp_path / "deployment.json", load)
    told: list[dict[str, str]] = []

    def refresh():
        models.refresh()
        told.append(dict(models.problems))

    first, second = threading.Thread(target=refresh), threading.Thread(target=refresh)
    first.start()
    loading.wait()
    second.start()
    second.join(0.05)
    waiting = second.is_alive()
    go_on.set()
    first.join()
    second.join()

    assert waiting
    assert told == [{"basket": "version 1 is refused: it cannot be loaded"}] * 2
