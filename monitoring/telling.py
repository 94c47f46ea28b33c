"""Tell a verdict to the model's webhook, and remember what arrived.

The verdict is on disk before anything is sent. What did not arrive is still due, so the next run
tells it; what arrived is not repeated before its time.
"""

from pathlib import Path

from pydantic import ValidationError

from knownat.contract.model_spec import Monitoring
from knownat.contract.verdict import ModelVerdict
from monitoring.files import replace_text
from monitoring.messages import Told, is_due, write_message
from monitoring.webhook import Delivery, deliver

TOLD = "told.json"
UNTOLD = "untold.txt"
"""Why the newest message did not arrive; there only while one waits."""


def tell(folder: Path, verdict: ModelVerdict, monitoring: Monitoring) -> Delivery | None:
    """Send what is due, if a webhook is declared; None if there was nothing to say."""
    webhook = monitoring.webhook
    told = read_told(folder)
    if webhook is None or not is_due(verdict, told, webhook):
        (folder / UNTOLD).unlink(missing_ok=True)
        return None
    message = write_message(verdict, told, webhook, window_hours=monitoring.window_hours)
    delivery = deliver(message, webhook)
    if delivery.arrived:
        now = Told(action=verdict.action, since=verdict.since, at=verdict.judged_at)
        replace_text(folder / TOLD, now.model_dump_json(indent=1))
        (folder / UNTOLD).unlink(missing_ok=True)
    else:
        replace_text(folder / UNTOLD, f"{delivery.problem}\n")
    return delivery


def read_told(folder: Path) -> Told | None:
    """Read what was told last; None if nothing was, or it cannot be read and is told again."""
    try:
        return Told.model_validate_json((folder / TOLD).read_bytes())
    except (OSError, ValidationError):
        return None


def read_untold(folder: Path) -> str:
    """Tell why a message still waits; empty if none does."""
    try:
        return (folder / UNTOLD).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
