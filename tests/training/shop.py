"""A shop whose app customers come back sooner: a whole repo, from raw orders to a declared model."""

import random
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

DEFINITIONS = Path(__file__).parent / "repos" / "shop"
START = datetime(2024, 1, 1, tzinfo=UTC)
CUTOFF = datetime(2024, 3, 20, tzinfo=UTC)

Order = tuple[int, datetime, int, str]


def copy_shop(folder: Path) -> Path:
    repo = folder / "feature_repo"
    shutil.copytree(DEFINITIONS, repo, ignore=shutil.ignore_patterns("__pycache__"))
    write_orders(repo)
    return repo


def write_orders(repo: Path, change: Callable[[Order], Order] = lambda order: order) -> None:
    """Write a hundred days of orders; ``change`` rewrites each."""
    dice = random.Random(11)
    orders: list[Order] = []
    for customer in range(1, 121):
        channel, pace = ("app", 4) if customer % 2 else ("web", 13)
        when = START + timedelta(days=dice.uniform(0, pace))
        while when < START + timedelta(days=100):
            orders.append((customer, when, dice.randrange(500, 9_000), channel))
            when += timedelta(days=dice.expovariate(1 / pace))
    lines = [f"{c},{t.isoformat()},{cents},{channel}" for c, t, cents, channel in map(change, orders)]
    (repo / "orders.csv").write_text("customer_id,paid_at,cents,channel\n" + "\n".join(lines) + "\n")
