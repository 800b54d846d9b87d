"""What mail and chats say, within the limits that the chats publish."""

import json
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from pytest_django import Settings

from collections_app.management.worker import Mailer
from collections_app.models import (
    Channel,
    ChannelKind,
    Collection,
    Event,
    EventKind,
    FailedMail,
    Membership,
    Notification,
    NotificationState,
    Rule,
    User,
)
from collections_app.notifications import sending
from collections_app.notifications.unsubscribe import read_token
from collections_app.outgoing import discord, mattermost, slack, teams, wording
from collections_app.outgoing.request import Request
from tests.support.server import free_port

LAPTOPS: dict[str, Any] = {"team_id": 1, "collection_id": 101, "collection_name": "AU Laptops"}
BUILDERS = [slack.build, mattermost.build, discord.build, teams.build]
CHANGES: dict[str, Any] = {
    "summary": "14 prices fell, 3 sold out",
    "lines": [
        "Acer Aspire 5 (B0CX1): 1,299.00 → 1,149.00 AUD, -11.5 %, lowest since 12 May",
        "HP 14 (B0CX2): sold out",
    ],
    "line_count": 17,
}


def event(kind: EventKind, run: int | None = 88, **data: Any) -> Event:
    return Event(kind=kind, run_number=run, data=data, **LAPTOPS)


def counts(extracted: int | None, total: int | None) -> dict[str, int | None]:
    return {"extracted": extracted, "total": total}


def body(request: Request) -> Any:
    return json.loads(request.body)


def hostile(count: int) -> list[Event]:
    """Events with texts that are as long as possible, in letters that JSON and the chats escape."""
    return [
        Event(
            kind=EventKind.PRODUCTS_CHANGED,
            collection_id=number,
            collection_name="<&*_[" * 40,
            run_number=number,
            data={"summary": "€" * 300, "lines": ["<!channel> @everyone [x](http://evil) *&<>*" * 20] * 50},
        )
        for number in range(count)
    ]


# --- wording ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "short", "line"),
    [
        (event(EventKind.RUN_FAILED, reason="Blocked."), "failed", "Failed: Blocked."),
        (event(EventKind.RUN_COMPLETED, counts=counts(1240, 1240)), "completed", "Completed: 1,240 records"),
        (event(EventKind.RUN_INCOMPLETE, counts=counts(9, 20)), "incomplete", "Incomplete: 9 of 20 records"),
        (event(EventKind.RUN_EMPTY, counts=counts(0, 9)), "empty", "Empty: 0 of 9 records"),
        (event(EventKind.RUN_COMPLETED, counts=counts(None, None)), "completed", "Completed"),
        (event(EventKind.PRODUCTS_CHANGED, **CHANGES), CHANGES["summary"], CHANGES["summary"]),
    ],
)
def test_a_message_begins_with_what_happened(event: Event, short: str, line: str) -> None:
    found = wording.message([event])
    assert found.subject == f"AU Laptops, run 88: {short}"
    assert found.sections[0].lines[0] == line


def test_late_names_the_time_and_no_run() -> None:
    late = event(EventKind.COLLECTION_LATE, None, expected_at="2026-11-30T07:00:00+11:00")
    found = wording.message([late])
    assert found.subject == "AU Laptops: late"
    assert found.sections[0].lines == ["Late: expected by 29 Nov 2026, 20:00 UTC"]


def test_an_outage_names_the_account() -> None:
    outage = Event(kind=EventKind.ACCOUNT_UNAVAILABLE, target="MultiCartAPI", data={"reason": "Timeout."})
    found = wording.message([outage])
    assert found.subject == "MultiCartAPI: unavailable"
    assert found.sections[0].lines == ["Unavailable: Timeout."]


def test_events_of_a_run_share_a_section() -> None:
    reason = {
        "check": "coverage",
        "level": "broken",
        "value": 0.59,
        "low": 0.98,
        "high": 1,
        "column": "Price",
    }
    broken = event(EventKind.RUN_BROKEN, reasons=[reason])
    found = wording.message([broken, event(EventKind.PRODUCTS_CHANGED, **CHANGES)])
    assert found.subject == "AU Laptops, run 88: broken, 14 prices fell, 3 sold out"
    [section] = found.sections
    assert section.lines[0].startswith("Broken: Price missing in 41")
    assert section.lines[2:] == [*CHANGES["lines"], "And 15 more."]
    assert section.url.endswith("/collections/101/runs/88/")


def test_many_runs_are_counted_in_the_subject() -> None:
    phones = Event(kind=EventKind.RUN_FAILED, collection_id=7, collection_name="Phones", run_number=1)
    events = [event(EventKind.RUN_FAILED, 88), event(EventKind.RUN_COMPLETED, 89), phones]
    assert wording.message(events).subject == "AU Laptops and 1 more: 2 failed, 1 completed"


# --- limits of chats ----------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 10, 500])
def test_slack_accepts_the_longest_messages(count: int) -> None:
    found = body(slack.build(hostile(count)))
    header, *sections = found["blocks"]
    assert len(header["text"]["text"]) <= 150
    assert 1 <= len(sections) <= 49
    assert all(len(block["text"]["text"]) <= 3000 for block in sections)
    assert sum(len(block["text"]["text"]) for block in found["blocks"]) <= 13_000
    assert len(found["text"]) <= 4000
    text = json.dumps(found)
    assert "<!channel>" not in text
    assert ("more." in sections[-1]["text"]["text"]) == (count > 1 or len(sections) == 1)


@pytest.mark.parametrize("count", [1, 10, 500])
def test_discord_accepts_the_longest_messages(count: int) -> None:
    found = body(discord.build(hostile(count)))
    assert len(found["content"]) <= 2000
    assert 1 <= len(found["embeds"]) <= 10
    for embed in found["embeds"]:
        assert len(embed["title"]) <= 256
        assert 1 <= len(embed["description"]) <= 4096
    assert sum(len(embed["title"]) + len(embed["description"]) for embed in found["embeds"]) <= 6000
    assert found["allowed_mentions"] == {"parse": []}


@pytest.mark.parametrize("count", [1, 10, 500])
def test_teams_accepts_the_longest_messages(count: int) -> None:
    request = teams.build(hostile(count))
    assert len(request.body) <= 21 * 1024
    card = body(request)["attachments"][0]["content"]
    assert card["version"] == "1.4"
    assert {block["type"] for block in card["body"]} == {"TextBlock"}
    assert "[x](http" not in request.body.decode()


@pytest.mark.parametrize("count", [1, 10, 500])
def test_mattermost_accepts_the_longest_messages(count: int) -> None:
    found = body(mattermost.build(hostile(count)))
    assert len(found["text"]) <= 16_383
    assert "@everyone" not in found["text"]


@pytest.mark.parametrize("build", BUILDERS)
def test_a_chat_links_to_the_run_and_says_what_happened(build: Any, settings: Settings) -> None:
    settings.PUBLIC_URL = "https://results.example.com"
    text = json.dumps(body(build([event(EventKind.PRODUCTS_CHANGED, **CHANGES)])), ensure_ascii=False)
    assert "https://results.example.com/collections/101/runs/88/" in text
    assert "14 prices fell, 3 sold out" in text
    assert "Acer Aspire 5" in text


# --- mail ---------------------------------------------------------------------------------------


class Mailbox:
    """A mail server that keeps what it receives."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.recipients: list[list[str]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        self.recipients.append(envelope.rcpt_tos)
        return "250 OK"


@pytest.fixture
def mailbox(settings: Settings) -> Any:
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port())
    controller.start()
    settings.EMAIL_URL = "smtp://127.0.0.1"
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", controller.port
    settings.PUBLIC_URL = "https://results.example.com"
    try:
        yield box
    finally:
        controller.stop()


@pytest.fixture
def bobs_channel(laptops: Collection, bob: User) -> Channel:
    member = Membership.objects.get(user=bob)
    return Channel.objects.create(team=laptops.team, kind=ChannelKind.EMAIL, name="Bob", member=member)


@pytest.fixture
def rule(bobs_channel: Channel) -> Rule:
    return Rule.objects.create(
        team=bobs_channel.team, channel=bobs_channel, name="Failures", kinds=["run.failed"]
    )


def notify(channel: Channel, rule: Rule | None, found: Event) -> Notification:
    found.team_id = channel.team_id
    found.save()
    return Notification.objects.create(event=found, channel=channel, rule=rule)


def deliver(channel: Channel) -> None:
    assert sending.send_due(channel.pk)
    while Mailer().run_once():
        pass


def part(mail: EmailMessage, kind: str) -> str:
    found = mail.get_body((kind,))
    assert found
    return str(found.get_content())


@pytest.mark.django_db
def test_a_mail_has_text_html_and_one_click_unsubscribe(
    mailbox: Mailbox, bobs_channel: Channel, rule: Rule
) -> None:
    notification = notify(bobs_channel, rule, event(EventKind.RUN_FAILED, reason="Blocked <b>"))
    deliver(bobs_channel)
    [mail] = mailbox.mails
    assert mailbox.recipients == [["bob@example.com"]]
    assert mail["Subject"] == "AU Laptops, run 88: failed"
    assert mail["Auto-Submitted"] == "auto-generated"
    url = mail["List-Unsubscribe"].strip(" <>")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert read_token(url.removeprefix("https://results.example.com/unsubscribe/")) == [rule.pk]
    for kind in ("plain", "html"):
        text = part(mail, kind)
        assert "https://results.example.com/collections/101/runs/88/" in text
        assert "because of the rule “Failures” of the team" in text
        assert url in text
    assert "Failed: Blocked <b>" in part(mail, "plain")
    assert "Failed: Blocked &lt;b&gt;" in part(mail, "html")
    notification.refresh_from_db()
    assert notification.state == NotificationState.SENT


@pytest.mark.django_db
def test_mails_of_a_collection_are_one_thread(mailbox: Mailbox, bobs_channel: Channel, rule: Rule) -> None:
    for run in (88, 89):
        notify(bobs_channel, rule, event(EventKind.RUN_FAILED, run))
        deliver(bobs_channel)
    first, second = mailbox.mails
    assert first["References"] == second["References"] == "<collection-101@results.example.com>"
    assert first["Message-ID"] != second["Message-ID"]


@pytest.mark.django_db
def test_no_mail_reaches_someone_who_left(
    mailbox: Mailbox, bobs_channel: Channel, rule: Rule, bob: User
) -> None:
    notify(bobs_channel, rule, event(EventKind.RUN_FAILED))
    assert sending.send_due(bobs_channel.pk)
    Membership.objects.filter(user=bob).delete()
    assert Mailer().run_once()
    assert not mailbox.mails
    assert not FailedMail.objects.exists()


@pytest.mark.django_db
def test_without_a_mail_server_mail_waits(settings: Settings, bobs_channel: Channel, rule: Rule) -> None:
    settings.EMAIL_URL = ""
    notification = notify(bobs_channel, rule, event(EventKind.RUN_FAILED))
    assert sending.send_due(bobs_channel.pk)
    bobs_channel.refresh_from_db()
    notification.refresh_from_db()
    assert bobs_channel.last_error == "This site has no mail server. Ask its operator to set EMAIL_URL."
    assert notification.state == NotificationState.WAITING


@pytest.mark.django_db
def test_a_test_mail_says_why_it_came(mailbox: Mailbox, bobs_channel: Channel) -> None:
    sending.send_test(bobs_channel)
    deliver(bobs_channel)
    [mail] = mailbox.mails
    assert mail["Subject"] == "Bob: this channel works"
    assert mail["List-Unsubscribe"] is None
    assert "because someone tested the channel" in part(mail, "plain")
