"""The pages of channels and rules: who is told of problems, and what was sent."""

from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from django.test import Client
from django.utils import timezone

from collections_app.events.record import record
from collections_app.models import (
    Channel,
    ChannelKind,
    Collection,
    EventKind,
    Notification,
    NotificationState,
    Rule,
    SendingAttempt,
    Team,
    User,
)
from collections_app.notifications.unsubscribe import unsubscribe_url
from tests.support.channels import URL, make_webhook
from tests.support.html import rows, text_of

pytestmark = pytest.mark.django_db

LIST = "/team/notifications/"
WEBHOOK = {"kind": "webhook", "name": "Pipeline", "url": URL, "digest_hour": ""}
EMAIL = {"kind": "email", "name": "Email", "url": "", "digest_hour": "7"}


@pytest.fixture
def team(laptops: Collection) -> Team:
    return laptops.team


def notify(channel: Channel, collection: Collection, **fields: object) -> Notification:
    event = record(EventKind.RUN_FAILED, collection=collection)
    return Notification.objects.create(event=event, channel=channel, **fields)


# --- channels -----------------------------------------------------------------------------------


def test_a_webhook_shows_its_signing_key_once_and_its_url_never(as_adam: Client, team: Team) -> None:
    response = as_adam.post(f"{LIST}add", WEBHOOK)
    channel = Channel.objects.get()
    assert response.status_code == 201
    assert "whsec_" in response.content.decode()
    assert (channel.url, channel.host) == (URL, "hooks.example.com")
    for page in ("", f"{channel.pk}/", f"{channel.pk}/change", f"{channel.pk}/remove"):
        html = as_adam.get(LIST + page).content.decode()
        assert "whsec_" not in html
        assert "canary" not in html


def test_a_new_channel_has_a_rule_for_problems(as_bob: Client, bob: User, team: Team) -> None:
    as_bob.post(f"{LIST}add", EMAIL)
    channel = Channel.objects.get()
    assert (channel.member, channel.digest_hour) == (bob.memberships.get(), 7)
    assert channel.rules.get().kinds == [
        *("run.failed", "run.stalled", "collection.late", "run.broken", "run.empty", "run.incomplete"),
        *("collection.recovered", "account.unavailable", "account.recovered"),
    ]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": ""}, "Enter a name for the channel."),
        ({"url": ""}, "Enter the URL to send to."),
        ({"url": "https://127.0.0.1/"}, "127.0.0.1 isn't a public address."),
        ({"url": "https://user:canary-7c1e@example.com/"}, "Enter a URL without a user name and password."),
        ({"kind": "pigeon"}, "Choose one of the options."),
    ],
)
def test_a_wrong_channel_is_not_saved(
    as_adam: Client, team: Team, changes: dict[str, str], error: str
) -> None:
    html = as_adam.post(f"{LIST}add", WEBHOOK | changes).content.decode()
    assert error in text_of(html)
    assert "canary" not in html
    assert not Channel.objects.exists()


def test_members_have_their_own_email_only(as_bob: Client, as_adam: Client, team: Team) -> None:
    make_webhook(team)
    as_adam.post(f"{LIST}add", EMAIL)
    assert "No channels yet" in as_bob.get(LIST).content.decode()
    assert as_bob.post(f"{LIST}add", WEBHOOK).status_code == 200  # refused
    as_bob.post(f"{LIST}add", EMAIL)
    assert "already have a channel" in as_bob.post(f"{LIST}add", EMAIL).content.decode()
    assert len(rows(as_bob.get(LIST))) == 1
    assert len(rows(as_adam.get(LIST))) == 3


def test_a_team_has_a_limited_number_of_channels(
    as_adam: Client, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Channel, "MOST", 1)
    make_webhook(team)
    assert "the maximum" in as_adam.post(f"{LIST}add", WEBHOOK).content.decode()
    assert Channel.objects.count() == 1


def test_an_empty_url_keeps_the_stored_one(as_adam: Client, team: Team) -> None:
    channel = make_webhook(team)
    as_adam.post(f"{LIST}{channel.pk}/change", {"name": "Prices", "url": "", "digest_hour": ""})
    channel.refresh_from_db()
    assert (channel.name, channel.url) == ("Prices", URL)
    new = {"name": "Prices", "url": "https://other.example/x", "digest_hour": "8"}
    as_adam.post(f"{LIST}{channel.pk}/change", new)
    channel.refresh_from_db()
    assert (channel.url, channel.host, channel.digest_hour) == (new["url"], "other.example", 8)


def test_a_new_signing_key_replaces_the_old_one_after_a_day(as_adam: Client, team: Team) -> None:
    channel = make_webhook(team)
    old = channel.encrypted_secret
    assert "24 hours" in as_adam.get(f"{LIST}{channel.pk}/rotate").content.decode()
    assert "whsec_" in as_adam.post(f"{LIST}{channel.pk}/rotate").content.decode()
    channel.refresh_from_db()
    assert channel.encrypted_old_secret == old
    assert channel.old_secret_until is not None
    assert channel.old_secret_until - timezone.now() > timedelta(hours=23)


def test_only_webhooks_have_a_signing_key(as_adam: Client, team: Team) -> None:
    channel = make_webhook(team)
    Channel.objects.update(kind=ChannelKind.SLACK)
    assert "whsec_" not in as_adam.post(f"{LIST}{channel.pk}/rotate").content.decode()


def test_a_removed_channel_takes_its_rules_and_its_log_with_it(
    as_adam: Client, team: Team, laptops: Collection
) -> None:
    channel = make_webhook(team)
    notify(channel, laptops)
    as_adam.post(f"{LIST}{channel.pk}/remove")
    assert not Channel.objects.exists()
    assert not Rule.objects.exists()
    assert not Notification.objects.exists()


# --- what was sent ------------------------------------------------------------------------------


def test_the_log_shows_the_last_attempt(as_adam: Client, team: Team, laptops: Collection) -> None:
    channel = make_webhook(team)
    sent = notify(channel, laptops, attempts=2)
    for status in (502, 503):
        SendingAttempt.objects.create(notification=sent, seconds=1.5, status=status, answer="<b>Busy</b>")
    html = as_adam.get(f"{LIST}{channel.pk}/").content.decode()
    text = text_of(html)
    assert "Run failed AU Laptops" in text
    assert "Waiting 2 failed attempts" in text
    assert "HTTP 503, 1.5 s" in text
    assert "502" not in text
    assert "&lt;b&gt;Busy" in html


def test_a_test_is_sent_by_the_worker(as_adam: Client, team: Team) -> None:
    channel = make_webhook(team)
    as_adam.post(f"{LIST}{channel.pk}/test")
    waiting = Notification.objects.get()
    assert (waiting.is_test, waiting.state) == (True, NotificationState.WAITING)


def test_selected_notifications_are_sent_again(as_adam: Client, team: Team, laptops: Collection) -> None:
    channel, other = make_webhook(team), make_webhook(team, "Other")
    sent = [notify(each, laptops, state=NotificationState.SENT) for each in (channel, channel, other)]
    chosen = [f"{each.pk}" for each in sent[1:]] + ["x", "9" * 30]
    as_adam.post(f"{LIST}{channel.pk}/resend", {"notification": chosen})
    states = Notification.objects.order_by("pk").values_list("state", flat=True)
    assert [*states] == ["sent", "waiting", "sent"]  # not another channel's
    response = as_adam.post(f"{LIST}{channel.pk}/resend", follow=True)
    assert "Select the notifications" in response.content.decode()


@pytest.mark.parametrize(("answer", "state"), [("send", "waiting"), ("skip", "skipped")])
def test_switching_on_sends_or_skips_what_was_missed(
    as_adam: Client, team: Team, laptops: Collection, answer: str, state: str
) -> None:
    channel = make_webhook(team)
    missed = notify(channel, laptops)
    Channel.objects.update(off_since=timezone.now(), off_reason="It responded with HTTP 410.")
    html = as_adam.get(f"{LIST}{channel.pk}/").content.decode()
    assert "1 notification was not sent." in text_of(html)
    assert "It responded with HTTP 410." in html
    as_adam.post(f"{LIST}{channel.pk}/switch-on", {"missed": answer})
    missed.refresh_from_db()
    channel.refresh_from_db()
    assert (missed.state, channel.is_on) == (state, True)


# --- links in mail ------------------------------------------------------------------------------


def test_a_link_in_mail_switches_its_rules_off_without_a_sign_in(client: Client, team: Team) -> None:
    rule, other = (make_webhook(team, name).rules.get() for name in ("Pipeline", "Other"))
    address = urlsplit(unsubscribe_url([rule])).path
    assert "Failures of Crawlers" in text_of(client.get(address).content.decode())
    assert Rule.objects.filter(is_on=True).count() == 2  # mail scanners open links
    response = Client(enforce_csrf_checks=True).post(address, {"List-Unsubscribe": "One-Click"})
    assert response.status_code == 200
    assert [*Rule.objects.filter(is_on=True)] == [other]
    rule.delete()
    assert "no longer exists" in client.get(address).content.decode()


def test_a_changed_link_switches_nothing_off(client: Client, team: Team) -> None:
    address = urlsplit(unsubscribe_url([make_webhook(team).rules.get()])).path
    assert client.post(address[:-1]).status_code == 404
    assert Rule.objects.get().is_on


# --- rules --------------------------------------------------------------------------------------


def rule_form(**changes: object) -> dict[str, object]:
    kinds = ["run.failed", "run.empty"]
    return {
        "name": "Laptops",
        "is_on": "on",
        "kinds": kinds,
        "collections_like": "lap",
        "repeat_every": "0",
        **changes,
    }


def test_a_rule_names_events_and_collections(as_adam: Client, team: Team) -> None:
    channel = make_webhook(team)
    as_adam.post(f"{LIST}{channel.pk}/rules/add", rule_form())
    rule = Rule.objects.get(name="Laptops")
    assert (rule.kinds, rule.collections_like, rule.team) == (["run.failed", "run.empty"], "lap", team)
    html = as_adam.get(f"{LIST}{channel.pk}/").content.decode()
    assert "Run failed, Run empty · collections whose names contain “lap”" in text_of(html)
    as_adam.post(f"{LIST}rules/{rule.pk}/change", rule_form(is_on="", repeat_every="3"))
    rule.refresh_from_db()
    assert (rule.is_on, rule.repeat_every) == (False, 3)
    as_adam.post(f"{LIST}rules/{rule.pk}/remove")
    assert not Rule.objects.filter(name="Laptops").exists()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"name": " "}, "Enter a name for the rule."),
        ({"kinds": []}, "Choose at least one event."),
        ({"kinds": ["user.signed_in"]}, "Choose events from the list."),
        ({"repeat_every": "-1"}, "Enter a whole number from 0 to 1,000."),
        ({"repeat_every": "9999"}, "Enter a whole number from 0 to 1,000."),
    ],
)
def test_a_wrong_rule_is_not_saved(
    as_adam: Client, team: Team, changes: dict[str, object], error: str
) -> None:
    channel = make_webhook(team)
    html = as_adam.post(f"{LIST}{channel.pk}/rules/add", rule_form(**changes)).content.decode()
    assert error in text_of(html)
    assert channel.rules.count() == 1
