from datetime import UTC, datetime, timedelta

import pytest

from knownat.contract.rules import Webhook
from knownat.contract.verdict import Action, ModelVerdict
from monitoring.messages import Told, is_due, write_message

NOW = datetime(2024, 3, 9, 6, tzinfo=UTC)
SINCE = datetime(2024, 3, 8, tzinfo=UTC)
ALERTMANAGER = Webhook(
    url="http://a/api/v2/alerts", shape="alertmanager", reports_url="https://r.example.org/"
)
SLACK = Webhook(url="http://s/T0", shape="slack", remind_hours=24)


def verdict(action=Action.ALERT, *, since=SINCE, reasons=("orders__city: no value at all",)):
    return ModelVerdict(
        model="will_return",
        version="3",
        action=action,
        since=since,
        reasons=reasons,
        owner="growth@example.org",
        runbook="docs/runbooks/will_return.md",
        as_of=NOW,
        judged_at=NOW,
        votes=(),
    )


def told(action=Action.ALERT, *, since=SINCE, hours_ago=1):
    return Told(action=action, since=since, at=NOW - timedelta(hours=hours_ago))


@pytest.mark.parametrize(
    ("action", "before", "webhook", "due"),
    [
        (Action.OK, None, SLACK, False),
        (Action.WATCH, None, SLACK, False),
        (Action.ALERT, None, SLACK, True),
        (Action.ALERT, told(), SLACK, False),
        (Action.ALERT, told(hours_ago=24), SLACK, True),
        (Action.ALERT, told(since=SINCE - timedelta(days=9)), SLACK, True),
        (Action.RETRAIN, told(), SLACK, True),
        (Action.OK, told(), SLACK, True),
        (Action.OK, told(Action.OK), SLACK, False),
        (Action.ALERT, told(), ALERTMANAGER, True),
        (Action.OK, told(Action.OK), ALERTMANAGER, False),
    ],
)
def test_alarms_their_changes_and_their_ends_are_told_and_repeated_in_time(action, before, webhook, due):
    assert is_due(verdict(action), before, webhook) is due


def test_alertmanager_gets_its_own_shape_with_owner_and_runbook():
    (alert,) = write_message(verdict(), None, ALERTMANAGER, window_hours=24)

    assert alert == {
        "labels": {
            "alertname": "KnownatVerdict",
            "model": "will_return",
            "action": "alert",
            "severity": "critical",
        },
        "annotations": {
            "summary": "will_return: alert",
            "description": "orders__city: no value at all",
            "owner": "growth@example.org",
            "runbook_url": "docs/runbooks/will_return.md",
            "version": "3",
            "report": "https://r.example.org/will_return/index.html",
        },
        "startsAt": "2024-03-08T00:00:00+00:00",
        "endsAt": "2024-03-12T06:00:00+00:00",
        "generatorURL": "https://r.example.org/will_return/index.html",
    }


def test_an_alert_that_is_over_ends_now_under_its_own_labels():
    before = told(since=SINCE - timedelta(days=2))
    (alert,) = write_message(verdict(Action.OK), before, ALERTMANAGER, window_hours=24)

    assert (alert["labels"]["action"], alert["endsAt"]) == ("alert", "2024-03-09T06:00:00+00:00")
    assert alert["startsAt"] == "2024-03-06T00:00:00+00:00"


def test_an_alert_that_goes_on_lasts_until_three_windows_from_now():
    (alert,) = write_message(verdict(), told(), ALERTMANAGER, window_hours=168)

    assert (alert["labels"]["action"], alert["endsAt"]) == ("alert", "2024-03-30T06:00:00+00:00")


def test_nothing_ends_that_did_not_fire():
    (alert,) = write_message(verdict(), told(Action.OK), ALERTMANAGER, window_hours=24)

    assert alert["labels"]["action"] == "alert"


def test_reports_that_are_published_nowhere_are_not_linked():
    unpublished = ALERTMANAGER.model_copy(update={"reports_url": None})
    (alert,) = write_message(verdict(), None, unpublished, window_hours=24)
    published = SLACK.model_copy(update={"reports_url": "https://r.example.org"})
    linked, unlinked = (
        write_message(verdict(), None, each, window_hours=24)["blocks"][2]["elements"][0]["text"]
        for each in (published, SLACK)
    )

    assert "generatorURL" not in alert
    assert "report" not in alert["annotations"]
    assert "<https://r.example.org/will_return/index.html|Report>" in linked
    assert "Report" not in unlinked


def test_an_alert_that_became_another_ends_and_the_other_begins():
    ended, begun = write_message(verdict(Action.RETRAIN), told(), ALERTMANAGER, window_hours=24)

    assert (ended["labels"]["action"], ended["endsAt"]) == ("alert", "2024-03-09T06:00:00+00:00")
    assert (begun["labels"]["action"], begun["labels"]["severity"]) == ("retrain", "warning")


def test_slack_gets_blocks_with_owner_and_runbook_and_no_markup_of_ours():
    message = write_message(verdict(reasons=("<x> & y", "second")), None, SLACK, window_hours=24)
    header, reasons, context = message["blocks"]

    assert header["text"]["text"] == "will_return: alert, since 2024-03-08 00:00 UTC"
    assert reasons["text"]["text"] == "• &lt;x&gt; &amp; y\n• second"
    assert context["elements"][0]["text"] == (
        "Owner: growth@example.org  ·  Runbook: docs/runbooks/will_return.md"
    )
    assert "Owner: growth@example.org. Runbook: docs/runbooks/will_return.md." in message["text"]


def test_an_owner_is_text_and_no_markup():
    rude = verdict().model_copy(update={"owner": "<!channel>", "runbook": "<r>"})
    message = write_message(rude, None, SLACK, window_hours=24)

    assert "<" not in message["text"]
    assert message["blocks"][2]["elements"][0]["text"] == "Owner: &lt;!channel&gt;  ·  Runbook: &lt;r&gt;"


def test_a_long_list_of_reasons_fits_slack():
    long = verdict(reasons=("x" * 400,) * 20).model_copy(update={"model": "m" * 200})
    message = write_message(long, None, SLACK, window_hours=24)

    # A header is shorter than other blocks.
    assert len(message["blocks"][0]["text"]["text"]) <= 150
    assert all(len(block["text"]["text"]) <= 3_000 for block in message["blocks"][:2])
    assert len(message["text"]) <= 3_000
