"""A shop whose app customers come back sooner: a whole repo, from raw orders to a declared model."""

import random
import shutil
from collections.abc import Callable, Mapping
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
    lines = [f"{c},{t.isoformat()},{cents},{channel}" for c, t, cents, channel in map(change, _orders())]
    (repo / "orders.csv").write_text("customer_id,paid_at,cents,channel\n" + "\n".join(lines) + "\n")


def report_orders(repo: Path, late: Mapping[tuple[int, datetime], datetime] | None = None) -> None:
    """Write the orders with the time each was reported, an hour later; ``late`` ones are added."""
    pipelines = repo / "pipelines"
    declared = (DEFINITIONS / "pipelines" / "pipelines.toml").read_text()
    declared = declared.replace('"VARCHAR" }', '"VARCHAR", reported_at = "TIMESTAMPTZ" }')
    (pipelines / "pipelines.toml").write_text(declared.replace("paid_at + INTERVAL 1 HOUR", "reported_at"))
    sql = (DEFINITIONS / "pipelines" / "orders.sql").read_text()
    (pipelines / "orders.sql").write_text(sql.replace("channel FROM", "channel, reported_at FROM"))
    reported = [(order, order[1] + timedelta(hours=1)) for order in _orders()]
    reported += [((customer, paid, 700, "web"), told) for (customer, paid), told in (late or {}).items()]
    lines = [f"{c},{t.isoformat()},{cents},{how},{told.isoformat()}" for (c, t, cents, how), told in reported]
    header = "customer_id,paid_at,cents,channel,reported_at\n"
    (repo / "orders.csv").write_text(header + "\n".join(lines) + "\n")


def _orders() -> list[Order]:
    dice = random.Random(11)
    orders: list[Order] = []
    for customer in range(1, 121):
        channel, pace = ("app", 4) if customer % 2 else ("web", 13)
        when = START + timedelta(days=dice.uniform(0, pace))
        while when < START + timedelta(days=100):
            orders.append((customer, when, dice.randrange(500, 9_000), channel))
            when += timedelta(days=dice.expovariate(1 / pace))
    return orders
