"""A gift shop, generated: orders and deliveries by the day, and a whole repo to learn from them."""

import random
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

DEFINITIONS = Path(__file__).parent / "repos" / "gifts"
FIRST_DAY = date(2024, 1, 1)
DAYS = 150
ORDERS_A_DAY = 30
CUSTOMERS = 80
PRODUCTS = ("mug", "scarf", "clock", "globe", "chess", "vase", "lamp", "kite")
CUTOFF = datetime(2024, 4, 20, tzinfo=UTC)
NEW_PACKAGING_FROM = date(2024, 5, 1)
"""From then on some orders come in a packaging that no model was fitted to."""


def copy_gifts(folder: Path) -> Path:
    """Lay out the repo with its raw files."""
    repo = folder / "feature_repo"
    shutil.copytree(DEFINITIONS, repo, ignore=shutil.ignore_patterns("__pycache__"))
    write_raw(repo)
    return repo


def write_raw(repo: Path) -> None:
    """Write what was ordered and what arrived; one order in twenty-five is lost, some are no gifts."""
    dice = random.Random(23)
    orders, deliveries, number = [], [], 0
    for day in (FIRST_DAY + timedelta(days=n) for n in range(DAYS)):
        asked = set()
        while len(asked) < ORDERS_A_DAY:
            buyer, product = dice.randrange(CUSTOMERS), dice.randrange(len(PRODUCTS))
            recipient = dice.randrange(CUSTOMERS) if dice.random() < 0.85 else None
            asked.add((buyer, recipient, product))
        for buyer, recipient, product in sorted(asked, key=str):
            number += 1
            promised = dice.choice((3, 5, 7))
            new = day >= NEW_PACKAGING_FROM and dice.random() < 0.3
            packaging = "crate" if new else ("box", "bag", "tube")[buyer % 3]
            cents = dice.randrange(500, 9_000)
            who = "" if recipient is None else recipient
            orders.append(f"{number},{buyer},{who},{PRODUCTS[product]},{day},{promised},{cents},{packaging}")
            if dice.random() < 0.96:
                far = 0 if recipient is None else 3 * (recipient % 4 == 0)
                days = min(13, 1 + product // 2 + far + int(dice.expovariate(1 / 1.2)))
                outcome = dice.choices((0, 1, 2), _tempers(buyer, product))[0]
                deliveries.append(f"{number},{day + timedelta(days=days)},{outcome}")
    header = "order_id,buyer_id,recipient_id,sku,ordered_on,promised_days,cents,packaging"
    (repo / "orders.csv").write_text("\n".join([header, *orders]) + "\n")
    (repo / "deliveries.csv").write_text("\n".join(["order_id,delivered_on,outcome", *deliveries]) + "\n")


def _tempers(buyer: int, product: int) -> tuple[float, float, float]:
    """Chances of keeping, exchanging and returning: by the buyer's kind, and the product's."""
    return (8.0, 1.0 + 5.0 * (buyer % 3 == 0), 1.0 + 5.0 * (product % 3 == 0))
