"""What a scorer looks after while it answers: round by round, whatever goes wrong in one of them."""

import asyncio
from dataclasses import dataclass, field

import pytest

from serving.routes import Upkeep


@dataclass
class Served:
    """A version whose store cannot be read the first few times."""

    failing: int = 0
    reads: int = 0
    name: str = "basket"
    version: str = "1"

    @property
    def features(self):
        return self

    async def problem(self, now_us, seconds):
        self.reads += 1
        return "not readable" if self.reads <= self.failing else None


@dataclass
class Noting:
    """Models, keys, bodies and log in one: notes what is asked of it."""

    models: list[Served] = field(default_factory=lambda: [Served()])
    failures: list[BaseException] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=lambda: {"basket 2": "refused"})
    done: list[object] = field(default_factory=list)

    def served(self):
        return iter(self.models)

    def sweep(self):
        self.done.append("bodies")

    def rest(self, busy):
        self.done.append(busy)


@dataclass
class Refreshing:
    """One of the two things that are taken up anew."""

    of: Noting
    name: str

    def refresh(self):
        self.of.done.append(self.name)
        if self.name == "models" and self.of.failures:
            raise self.of.failures.pop()

    def __getattr__(self, name):
        return getattr(self.of, name)


def kept_up(noting, rounds):
    """Keep up until so many rounds are over; return what was done in them."""
    upkeep = Upkeep(Refreshing(noting, "models"), Refreshing(noting, "keys"), noting, noting)

    async def run():
        keeping = asyncio.create_task(upkeep.keep(seconds=0))
        while len(noting.done) < 4 * rounds:
            await asyncio.sleep(0)
            assert not keeping.done(), keeping.exception()
        keeping.cancel()
        return upkeep.models

    models = asyncio.run(asyncio.wait_for(run(), 30))
    return noting.done[: 4 * rounds], models


ROUND = ["bodies", "keys", "models", {("basket", "1")}]


def test_each_round_looks_after_bodies_keys_models_and_logs():
    done, _ = kept_up(Noting(), 2)

    assert done == [*ROUND, *ROUND]


def test_a_release_that_breaks_the_look_at_it_ends_no_round_and_is_told(caplog):
    noting = Noting(failures=[ZeroDivisionError("canary-secret")])

    done, models = kept_up(noting, 2)

    assert done == [*ROUND, *ROUND]
    assert models.problems == {"basket 2": "refused", "deployment": "ZeroDivisionError"}
    assert "What is deployed cannot be taken up." in caplog.text


@pytest.mark.parametrize(("failing", "reads"), [(0, 1), (2, 3), (9, 3)])
def test_each_store_is_read_before_the_first_request_is_and_a_few_times_if_it_must_be(failing, reads):
    models = [Served(failing), Served(failing)]
    upkeep = Upkeep(Noting(models), Noting(), Noting(), Noting())

    asyncio.run(upkeep.warm_up(0))

    assert [model.reads for model in models] == [reads, reads]
