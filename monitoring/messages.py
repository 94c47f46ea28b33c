"""A verdict as a message: the shapes of Alertmanager and of Slack. Nothing is sent here.

Every message names the owner and the runbook: an alarm without either is nobody's.
"""

from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, JsonValue

from knownat.contract.rules import Webhook
from knownat.contract.verdict import Action, ModelVerdict

_ALERT_NAME = "KnownatVerdict"
_LONGEST = 2_900
"""Slack cuts a block of text at 3 000 characters."""


class Told(BaseModel):
    """What the webhook was told last of one model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    action: Action
    since: datetime
    at: datetime


def is_due(verdict: ModelVerdict, told: Told | None, webhook: Webhook) -> bool:
    """Tell whether there is something to say: an alarm, a change of it, its end, or a reminder.

    Alertmanager forgets what is not repeated, so it is told of an alarm at each run; people are told
    once, and again after ``remind_hours``.
    """
    was_alarming = told is not None and told.action.alarms
    if not verdict.action.alarms:
        return was_alarming
    if told is None or webhook.shape == "alertmanager":
        return True
    if (told.action, told.since) != (verdict.action, verdict.since):
        return True
    return verdict.judged_at - told.at >= timedelta(hours=webhook.remind_hours)


def write_message(
    verdict: ModelVerdict, told: Told | None, webhook: Webhook, *, window_hours: int
) -> JsonValue:
    """Write the message in the webhook's shape."""
    if webhook.shape == "slack":
        return _for_slack(verdict, webhook)
    return _for_alertmanager(verdict, told, webhook, window_hours=window_hours)


def _for_alertmanager(
    verdict: ModelVerdict, told: Told | None, webhook: Webhook, *, window_hours: int
) -> JsonValue:
    """Write the list that ``POST /api/v2/alerts`` takes: what fires, and what no longer does."""
    alerts: list[JsonValue] = []
    if told is not None and told.action.alarms and told.action is not verdict.action:
        # Another action has other labels, so to Alertmanager it is another alert: the old one ends.
        alerts.append(_alert(verdict, told.action, webhook, since=told.since, until=verdict.judged_at))
    if verdict.action.alarms:
        # Longer than the time to the next run, so that an alarm lasts until a run takes it back.
        until = verdict.judged_at + timedelta(hours=3 * window_hours)
        alerts.append(_alert(verdict, verdict.action, webhook, since=verdict.since, until=until))
    return alerts


def _alert(
    verdict: ModelVerdict, action: Action, webhook: Webhook, *, since: datetime, until: datetime
) -> JsonValue:
    report = _report(verdict, webhook)
    annotations: dict[str, JsonValue] = {
        "summary": f"{verdict.model}: {action.value}",
        "description": "\n".join(verdict.reasons),
        "owner": verdict.owner,
        "runbook_url": verdict.runbook,
        "version": verdict.version,
        **({} if report is None else {"report": report}),
    }
    severity = "warning" if action is Action.RETRAIN else "critical"
    return {
        "labels": {
            "alertname": _ALERT_NAME,
            "model": verdict.model,
            "action": action.value,
            "severity": severity,
        },
        "annotations": annotations,
        "startsAt": since.isoformat(),
        "endsAt": until.isoformat(),
        **({} if report is None else {"generatorURL": report}),
    }


def _for_slack(verdict: ModelVerdict, webhook: Webhook) -> JsonValue:
    """Write what an incoming webhook takes: a text for notifications, and blocks."""
    headline = f"{verdict.model}: {verdict.action.value}, since {verdict.since:%Y-%m-%d %H:%M} UTC"
    reasons = _cut("\n".join(f"• {_plain(reason)}" for reason in verdict.reasons))
    report = _report(verdict, webhook)
    context = [f"Owner: {_plain(verdict.owner)}", f"Runbook: {_plain(verdict.runbook)}"]
    context += [] if report is None else [f"<{report}|Report>"]
    blocks: list[JsonValue] = [
        {"type": "header", "text": {"type": "plain_text", "text": headline[:150]}},
        {"type": "section", "text": {"type": "mrkdwn", "text": reasons}},
        {"type": "context", "elements": [{"type": "mrkdwn", "text": "  ·  ".join(context)}]},
    ]
    told = f"{headline}. Owner: {verdict.owner}. Runbook: {verdict.runbook}. {'; '.join(verdict.reasons)}"
    return {"text": _cut(_plain(told)), "blocks": blocks}


def _report(verdict: ModelVerdict, webhook: Webhook) -> str | None:
    if webhook.reports_url is None:
        return None
    return f"{webhook.reports_url.rstrip('/')}/{verdict.model}/index.html"


def _plain(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + " …"
