"""Notifications are sent in the background, at least once, and retried."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from django.core import mail
from django.db import transaction
from pytest_django import Settings
from standardwebhooks import Webhook

from collections_app.events.record import record
from collections_app.management.worker import Mailer, Sender
from collections_app.models import (
    Channel,
    ChannelKind,
    Collection,
    Event,
    EventKind,
    Notification,
    NotificationState,
    Run,
    SendingAttempt,
    User,
)
from collections_app.notifications import sending, warnings
from collections_app.notifications.retries import MOST_ATTEMPTS, pause_after
from collections_app.outgoing import guard
from collections_app.outgoing.request import Answer
from collections_app.system import database, encryption
from tests.support import tools
from tests.support.receivers import Receiver, receiving
from tests.support.results import make_failed_run

pytestmark = pytest.mark.django_db

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))


@pytest.fixture(autouse=True)
def this_machine_is_allowed(settings: Settings) -> None:
    settings.OUTGOING_ALLOW = guard.parse_allowed(["127.0.0.0/8"])


class Clock:
    """A database clock that tests can set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = timedelta()
        real = database.now
        monkeypatch.setattr(database, "now", lambda: real() + self.passed)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def webhook(laptops: Collection, receiver: Receiver) -> Channel:
    return make_channel(laptops, receiver)


def make_channel(
    collection: Collection, receiver: Receiver, kind: ChannelKind = ChannelKind.WEBHOOK
) -> Channel:
    return Channel.objects.create(
        team=collection.team,
        kind=kind,
        name="Prices",
        encrypted_url=encryption.encrypt(receiver.url),
        host="127.0.0.1",
    )


def notify(
    channel: Channel, collection: Collection, kind: EventKind = EventKind.RUN_FAILED, run: Run | None = None
) -> Notification:
    with transaction.atomic():
        event = record(kind, collection=collection, run=run, data={"reason": "Blocked"}, in_feed=True)
        return Notification.objects.create(event=event, channel=channel, due_at=database.now())


def send(channel: Channel) -> bool:
    return sending.send_due(channel.pk)


def state_of(notification: Notification) -> str:
    notification.refresh_from_db()
    return notification.state


# --- webhooks -----------------------------------------------------------------------------------


def test_a_webhook_is_signed_and_verified_by_the_standards_library(
    laptops: Collection, webhook: Channel, receiver: Receiver
) -> None:
    secret = sending.rotate_secret(webhook)
    notification = notify(webhook, laptops)
    assert send(webhook)
    [request] = receiver.received
    found = Webhook(secret).verify(request.body, request.headers)
    assert found == json.loads(request.body)
    assert found["type"] == "run.failed"
    assert found["collection"] == {"id": laptops.pk, "name": "AU Laptops"}
    assert request.headers["webhook-id"] == found["id"] == notification.event.uid
    assert len(request.body) < 4096
    assert state_of(notification) == NotificationState.SENT
    assert not send(webhook)


def test_for_24_hours_after_a_rotation_both_keys_sign(
    laptops: Collection, webhook: Channel, receiver: Receiver, clock: Clock
) -> None:
    secrets = [sending.rotate_secret(webhook) for _ in range(2)]
    assert secrets[0] not in repr(Channel.objects.values())
    for passed, signatures in ((timedelta(), 2), (DAY + MINUTE, 1)):
        clock.passed = passed
        notify(webhook, laptops)
        send(webhook)
        request = receiver.received[-1]
        assert len(request.headers["webhook-signature"].split()) == signatures
    [first, last] = receiver.received
    for secret in secrets:
        assert Webhook(secret).verify(first.body, first.headers)
    assert last.headers["webhook-signature"].count("v1,") == 1


def test_every_retry_has_the_same_id(
    laptops: Collection, webhook: Channel, receiver: Receiver, clock: Clock
) -> None:
    sending.rotate_secret(webhook)
    notification = notify(webhook, laptops)
    receiver.status = 500
    tried_at = []
    while state_of(notification) == NotificationState.WAITING:
        if send(webhook):
            tried_at.append(clock.passed)
        clock.passed = notification.due_at - database.now() + clock.passed + SECOND
    assert len(receiver.received) == MOST_ATTEMPTS == 10
    assert len({request.headers["webhook-id"] for request in receiver.received}) == 1
    assert state_of(notification) == NotificationState.FAILED
    assert SendingAttempt.objects.filter(status=500, error="It responded with HTTP 500.").count() == 10


def test_pauses_are_those_of_the_handbook_with_jitter() -> None:
    hours = [5 / 3600, 5 / 60, 0.5, 2, 5, 10, 14, 20, 24]
    for attempts, each in enumerate(hours, start=1):
        pause = pause_after(attempts)
        assert pause is not None
        assert 0.8 * each <= pause / HOUR <= 1.2 * each
    assert pause_after(10) is None


def test_it_pauses_for_as_long_as_the_receiver_asks(
    laptops: Collection, webhook: Channel, receiver: Receiver, clock: Clock
) -> None:
    notification = notify(webhook, laptops)
    receiver.status, receiver.headers = 429, {"Retry-After": "3600"}
    send(webhook)
    assert notification.pk
    notify(webhook, laptops)
    assert not send(webhook)
    clock.passed = 59 * MINUTE
    assert not sending.channels_due(except_for=set())
    clock.passed = 61 * MINUTE
    receiver.status, receiver.headers = 204, {}
    assert sending.channels_due(except_for=set()) == [(webhook.pk, webhook.team_id)]
    assert send(webhook)
    assert len(receiver.received) == 3


def test_a_redirect_is_a_failure_that_says_what_to_do(
    laptops: Collection, webhook: Channel, receiver: Receiver
) -> None:
    receiver.status, receiver.headers = 301, {"Location": "https://example.com/"}
    notify(webhook, laptops)
    send(webhook)
    webhook.refresh_from_db()
    assert webhook.last_error == "It redirects (HTTP 301). Enter the URL that it redirects to."


# --- health -------------------------------------------------------------------------------------


def test_gone_switches_a_channel_off_at_once(
    laptops: Collection, webhook: Channel, receiver: Receiver
) -> None:
    receiver.status = 410
    notification = notify(webhook, laptops)
    send(webhook)
    webhook.refresh_from_db()
    assert not webhook.is_on
    assert webhook.off_reason == "It responded with HTTP 410."
    assert state_of(notification) == NotificationState.WAITING
    assert not sending.channels_due(except_for=set())


def test_five_days_of_failures_switch_it_off(
    laptops: Collection, webhook: Channel, receiver: Receiver, clock: Clock
) -> None:
    receiver.status = 500
    for day in range(7):
        for _ in range(2):
            clock.passed += 6 * MINUTE
            notify(webhook, laptops)
            send(webhook)
        webhook.refresh_from_db()
        assert webhook.is_on == (day < 5)
        clock.passed += DAY
    assert webhook.off_reason.startswith("Sending has failed for 5 days. It responded with HTTP 500.")


def test_a_success_forgets_failures(
    laptops: Collection, webhook: Channel, receiver: Receiver, clock: Clock
) -> None:
    notification = notify(webhook, laptops)
    receiver.status = 500
    send(webhook)
    webhook.refresh_from_db()
    assert (webhook.failures, webhook.last_error) == (1, "It responded with HTTP 500.")
    receiver.status, clock.passed = 200, MINUTE
    assert send(webhook)
    webhook.refresh_from_db()
    assert (webhook.failures, webhook.last_error, webhook.failing_since) == (0, "", None)
    assert webhook.last_success_at
    assert state_of(notification) == NotificationState.SENT


def test_a_test_is_sent_once_and_switches_the_channel_on(
    laptops: Collection, webhook: Channel, receiver: Receiver
) -> None:
    missed = notify(webhook, laptops)
    Channel.objects.update(off_since=database.now(), off_reason="Gone")
    webhook.refresh_from_db()
    test = sending.send_test(webhook)
    assert Event.objects.get(kind=EventKind.CHANNEL_TESTED).target == "Prices"
    receiver.status = 500
    assert send(webhook)
    assert state_of(test) == NotificationState.FAILED
    receiver.status = 200
    sending.send_test(webhook)
    assert send(webhook)
    webhook.refresh_from_db()
    assert webhook.is_on
    assert not send(webhook)
    assert list(sending.missed(webhook)) == [missed]


@pytest.mark.parametrize("state", ["waiting", "skipped"])
def test_switching_on_sends_what_was_missed_or_skips_it(
    laptops: Collection, webhook: Channel, state: str
) -> None:
    notification = notify(webhook, laptops)
    Channel.objects.update(off_since=database.now(), off_reason="Gone")
    assert list(sending.missed(webhook)) == [notification]
    sending.switch_on(webhook, missed=state == NotificationState.WAITING)
    assert webhook.is_on
    assert state_of(notification) == state
    assert send(webhook) == (state == NotificationState.WAITING)


def test_a_range_can_be_sent_again(laptops: Collection, webhook: Channel, receiver: Receiver) -> None:
    for _ in range(3):
        notify(webhook, laptops)
    send(webhook)
    assert sending.resend(webhook.notifications.order_by("pk")[:2]) == 2
    send(webhook)
    ids = [request.headers["webhook-id"] for request in receiver.received]
    assert ids == [*ids[:3], *ids[:2]]


def test_a_key_that_no_encryption_key_can_read_switches_the_channel_off(
    laptops: Collection, webhook: Channel
) -> None:
    Channel.objects.update(encrypted_url="x")
    notify(webhook, laptops)
    send(webhook)
    webhook.refresh_from_db()
    assert "Enter them again" in webhook.off_reason


def test_the_log_lasts_30_days(laptops: Collection, webhook: Channel, clock: Clock) -> None:
    notify(webhook, laptops)
    send(webhook)
    for days, left in ((29, 1), (31, 0)):
        clock.passed = days * DAY
        sending.tidy()
        assert SendingAttempt.objects.count() == Notification.objects.count() == left
    assert Event.objects.exists()


def test_managers_are_warned_three_times(
    laptops: Collection,
    webhook: Channel,
    receiver: Receiver,
    clock: Clock,
    settings: Settings,
    alice: User,
    adam: User,
    bob: User,
) -> None:
    settings.EMAIL_URL = "smtp://mail.example.com"
    receiver.status = 500
    for hour in range(0, 140, 4):
        clock.passed = hour * HOUR
        notify(webhook, laptops)
        send(webhook)
        warnings.warn()
        warnings.warn()
        while Mailer().run_once():
            pass
    assert [(each.subject, each.to) for each in mail.outbox] == [
        (f"Channel Prices: {subject}", [to])
        for subject in ("sending fails", "will be switched off tomorrow", "switched off")
        for to in ("alice@example.com", "adam@example.com")
    ]
    text = str(mail.outbox[-1].body)
    assert "It responded with HTTP 500." in text
    assert "Nothing is sent to 127.0.0.1 any more." in text
    assert receiver.url not in text


# --- messages to people -------------------------------------------------------------------------


@pytest.fixture
def chat(laptops: Collection, receiver: Receiver) -> Channel:
    return make_channel(laptops, receiver, ChannelKind.SLACK)


def test_events_of_the_same_run_are_one_message(
    laptops: Collection, chat: Channel, receiver: Receiver
) -> None:
    run = make_failed_run(laptops, "Blocked")
    for kind in (EventKind.RUN_FAILED, EventKind.PRODUCTS_CHANGED):
        notify(chat, laptops, kind, run=run)
    notify(chat, laptops, EventKind.RUN_COMPLETED)
    send(chat)
    assert len(receiver.received) == 2
    assert SendingAttempt.objects.count() == 3


def test_ten_messages_in_ten_minutes_and_then_one_with_the_rest(
    laptops: Collection, chat: Channel, receiver: Receiver, clock: Clock
) -> None:
    for _ in range(15):
        notify(chat, laptops)
        send(chat)
        clock.passed += 10 * SECOND
    assert len(receiver.received) == 10
    clock.passed = 11 * MINUTE
    notify(chat, laptops)
    assert send(chat)
    assert len(receiver.received) == 11
    assert not Notification.objects.exclude(state=NotificationState.SENT).exists()


def test_a_burst_is_one_message_at_once(laptops: Collection, chat: Channel, receiver: Receiver) -> None:
    for _ in range(11):
        notify(chat, laptops)
    send(chat)
    assert len(receiver.received) == 1


def test_a_digest_is_one_message_at_its_hour(
    laptops: Collection, chat: Channel, receiver: Receiver, clock: Clock
) -> None:
    chat.digest_hour = (database.now() + 3 * HOUR).hour
    chat.save()
    for _ in range(3):
        notify(chat, laptops)
    sending.reschedule(chat)
    assert not send(chat)
    clock.passed = 4 * HOUR
    assert send(chat)
    assert len(receiver.received) == 1


# --- several workers ----------------------------------------------------------------------------


def test_one_worker_at_a_time_sends_to_a_channel(
    laptops: Collection, webhook: Channel, receiver: Receiver
) -> None:
    notify(webhook, laptops)
    lease = sending._Lease.claim(webhook.pk)
    assert lease
    assert not sending.channels_due(except_for=set())
    assert not send(webhook)
    lease.update(leased_until=None)
    assert send(webhook)
    assert len(receiver.received) == 1


def test_what_a_killed_worker_did_not_note_is_sent_again_with_the_same_id(
    laptops: Collection, webhook: Channel, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    notify(webhook, laptops)
    lease = sending._Lease.claim(webhook.pk)
    assert lease
    with monkeypatch.context() as killed:
        killed.setattr(sending, "_note", lambda *args: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            sending._send_next(lease)
    assert not send(webhook)
    clock.passed = 5 * MINUTE
    assert send(webhook)
    ids = {request.headers["webhook-id"] for request in receiver.received}
    assert (len(receiver.received), len(ids)) == (2, 1)


def test_a_worker_that_lost_the_channel_notes_nothing(
    laptops: Collection, webhook: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    notification = notify(webhook, laptops)
    while_posting(monkeypatch, lambda: Channel.objects.update(leased_until=database.now() + MINUTE))
    send(webhook)
    assert state_of(notification) == NotificationState.WAITING
    assert not SendingAttempt.objects.exists()


def test_a_channel_that_is_deleted_meanwhile_is_no_error(
    laptops: Collection, webhook: Channel, monkeypatch: pytest.MonkeyPatch
) -> None:
    notify(webhook, laptops)
    while_posting(monkeypatch, lambda: Channel.objects.all().delete())
    assert send(webhook)
    assert not Notification.objects.exists()


def while_posting(monkeypatch: pytest.MonkeyPatch, work: Callable[[], object]) -> None:
    def post(*_: object) -> Answer:
        work()
        return Answer(200)

    monkeypatch.setattr(sending, "post", post)


@pytest.mark.django_db(transaction=True)
def test_a_slow_channel_delays_no_other(laptops: Collection, receiver: Receiver) -> None:
    with receiving() as slow:
        slow_channel, webhook = make_channel(laptops, slow), make_channel(laptops, receiver)
        others_received = threading.Event()
        slow.before_response = lambda: others_received.wait(tools.PATIENCE)
        receiver.before_response = others_received.set
        held, sent = notify(slow_channel, laptops), notify(webhook, laptops)
        sender = Sender()
        sender.run_once()
        assert others_received.wait(tools.PATIENCE)
        for _ in range(1000):
            if not sender._teams:
                break
            time.sleep(0.01)
    assert state_of(held) == state_of(sent) == NotificationState.SENT
