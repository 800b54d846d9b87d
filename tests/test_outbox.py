"""Mail is queued by requests and sent by the worker."""

import logging
import re
import smtplib
import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from django.contrib import admin
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.core.management import call_command
from django.db import connection
from pytest_django import Settings

from collections_app import outbox
from collections_app.management.worker import Mailer, Worker
from collections_app.models import FailedMail, OutgoingMail, User
from collections_app.people.password_links import compose_mail, queue_password_link
from collections_app.system import database
from tests.support import tools
from tests.support.server import free_port

SITE = "https://results.example.com"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def mail_server(settings: Settings) -> None:
    settings.EMAIL_URL = "smtp://mail.example.com"


class Clock:
    """A database clock that tests can set."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = timedelta()
        real = database.now
        monkeypatch.setattr(database, "now", lambda: real() + self.passed)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Refusing:
    """A mail server that refuses mail with an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.error: BaseException = ConnectionRefusedError(111, "Connection refused")
        self.tries = 0
        monkeypatch.setattr(EmailBackend, "send_messages", self.send)

    def send(self, messages: object) -> None:
        self.tries += 1
        raise self.error


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Refusing:
    return Refusing(monkeypatch)


def queue(user: User) -> None:
    assert queue_password_link(user.email, site=SITE)


def send() -> bool:
    return outbox.send_next(compose_mail)


def secret_of(message: Any) -> str:
    """Return the part of an email that must not appear anywhere else."""
    return str(re.findall(r"/key/\w+-(\S+)/", str(message.body))[0])


# --- the queue ----------------------------------------------------------------------------------


def test_a_mail_is_sent_once_and_its_row_is_deleted(bob: User) -> None:
    queue(bob)
    assert mail.outbox == []
    assert outbox.has_due()
    assert send()
    [message] = mail.outbox
    assert message.to == ["bob@example.com"]
    assert message.from_email == "results@localhost"
    assert f"{SITE}/accounts/password/reset/key/" in str(message.body)
    assert not OutgoingMail.objects.exists()
    assert not outbox.has_due()
    assert not send()


def test_the_oldest_goes_first(bob: User, eve: User) -> None:
    queue(bob)
    queue(eve)
    while send():
        pass
    assert [message.to for message in mail.outbox] == [["bob@example.com"], ["eve@example.com"]]


def test_the_content_of_a_mail_is_encrypted_in_the_database(bob: User) -> None:
    queue_password_link(bob.email, link=f"{SITE}/canary")
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {OutgoingMail._meta.db_table}")
        stored = repr(cursor.fetchall())
    assert "canary" not in stored
    assert "bob" not in stored


def test_the_admin_does_not_show_it() -> None:
    assert not admin.site.is_registered(OutgoingMail)


def test_without_a_mail_server_nothing_is_queued(bob: User, settings: Settings) -> None:
    settings.EMAIL_URL = ""
    assert not queue_password_link(bob.email, site=SITE)
    assert not OutgoingMail.objects.exists()


def test_without_a_mail_server_queued_mail_waits_until_it_expires(
    bob: User, settings: Settings, clock: Clock
) -> None:
    queue(bob)
    settings.EMAIL_URL = ""
    assert not outbox.has_due()
    assert not send()
    clock.passed = timedelta(days=3, seconds=1)
    assert outbox.has_due()
    assert send()
    assert not OutgoingMail.objects.exists()
    assert mail.outbox == []


def test_an_account_that_was_closed_since_gets_no_mail(bob: User) -> None:
    queue(bob)
    User.objects.filter(pk=bob.pk).update(is_active=False)
    assert send()
    assert mail.outbox == []
    assert not OutgoingMail.objects.exists()


# --- a mail server that refuses -----------------------------------------------------------------


def test_it_is_retried_after_growing_pauses_and_given_up_after_three_days(
    bob: User, refusing: Refusing, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    queue(bob)
    tried_at = []
    minute = timedelta(minutes=1)
    while OutgoingMail.objects.exists():
        before = refusing.tries
        send()
        if refusing.tries > before:
            tried_at.append(clock.passed)
        clock.passed += minute if len(tried_at) < 9 else 30 * minute
    pauses = [(after - before) / minute for before, after in pairwise(tried_at)]
    assert pauses[:6] == pytest.approx([1, 2, 4, 8, 16, 32], abs=1.1)
    assert set(pauses[8:]) <= {60, 90}
    assert timedelta(days=2, hours=22) < tried_at[-1] < timedelta(days=3)
    assert clock.passed < timedelta(days=3, hours=3)
    assert "problem=Connection refused" in caplog.messages[0]
    assert caplog.messages[-1].endswith("problem=given up: expired")
    assert mail.outbox == []


def test_it_is_sent_once_the_server_accepts_it(
    bob: User, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    queue(bob)
    with monkeypatch.context() as away:
        Refusing(away)
        assert send()
    assert not send()
    clock.passed = timedelta(minutes=1, seconds=1)
    assert send()
    assert len(mail.outbox) == 1
    assert not OutgoingMail.objects.exists()


def test_a_refused_mail_does_not_delay_others(bob: User, eve: User, monkeypatch: pytest.MonkeyPatch) -> None:
    queue(bob)
    with monkeypatch.context() as away:
        Refusing(away)
        send()
    queue(eve)
    assert send()
    assert [message.to for message in mail.outbox] == [["eve@example.com"]]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (smtplib.SMTPDataError(554, b"Spam: canary"), "SMTPDataError 554"),
        (smtplib.SMTPAuthenticationError(535, b"Wrong password canary"), "SMTPAuthenticationError 535"),
        (smtplib.SMTPServerDisconnected("canary"), "SMTPServerDisconnected"),
        (smtplib.SMTPRecipientsRefused({"canary": (450, b"Greylisted")}), "SMTPRecipientsRefused 450"),
        (TimeoutError("canary"), "TimeoutError"),
    ],
)
def test_the_log_names_the_problem_without_the_servers_own_words(
    bob: User, refusing: Refusing, caplog: pytest.LogCaptureFixture, error: OSError, said: str
) -> None:
    refusing.error = error
    queue(bob)
    send()
    (mail_queued,) = OutgoingMail.objects.all()
    assert caplog.messages == [f"mail={mail_queued.pk} tries=1 problem={said}"]
    assert mail_queued.problem == said
    assert "canary" not in caplog.text


def test_a_mailbox_that_does_not_exist_is_given_up_at_once(
    bob: User, refusing: Refusing, caplog: pytest.LogCaptureFixture
) -> None:
    refusing.error = smtplib.SMTPRecipientsRefused({"bob@example.com": (550, b"No such user")})
    queue(bob)
    send()
    assert not OutgoingMail.objects.exists()
    assert caplog.messages[0].endswith("problem=given up: SMTPRecipientsRefused 550")
    (failed,) = FailedMail.objects.all()
    assert (failed.tries, failed.problem) == (1, "SMTPRecipientsRefused 550")


def test_failures_are_kept_for_a_week(bob: User, refusing: Refusing, clock: Clock) -> None:
    refusing.error = smtplib.SMTPRecipientsRefused({"bob@example.com": (550, b"No such user")})
    for days, kept in ((0, 1), (6, 2), (8, 2)):
        clock.passed = timedelta(days=days)
        queue(bob)
        send()
        assert FailedMail.objects.count() == kept


def test_a_mail_that_no_key_can_decrypt_is_given_up(bob: User, caplog: pytest.LogCaptureFixture) -> None:
    queue(bob)
    OutgoingMail.objects.update(encrypted_data="x")
    assert send()
    assert not OutgoingMail.objects.exists()
    assert caplog.messages[0].endswith("problem=given up: no encryption key can decrypt it")


def test_an_unreachable_server(bob: User, settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", free_port()
    queue(bob)
    send()
    assert caplog.messages[0].endswith("tries=1 problem=Connection refused")


# --- several workers ----------------------------------------------------------------------------


def test_only_one_worker_at_a_time_sends_a_mail(bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[bool] = []

    def send_messages(self: object, messages: object) -> None:
        sent.append(outbox.send_next(compose_mail))

    monkeypatch.setattr(EmailBackend, "send_messages", send_messages)
    queue(bob)
    assert send()
    assert sent == [False]


def test_only_one_of_two_workers_that_find_the_same_mail_sends_it(
    bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue(bob)
    claim = outbox._claim

    def claim_late(found: OutgoingMail) -> bool:
        monkeypatch.setattr(outbox, "_claim", claim)
        assert send()
        return claim(found)

    monkeypatch.setattr(outbox, "_claim", claim_late)
    assert send()
    assert len(mail.outbox) == 1


def test_another_worker_sends_the_mail_of_a_killed_worker(
    bob: User, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    queue(bob)
    with monkeypatch.context() as killed:
        Refusing(killed).error = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            send()
    assert not send()
    clock.passed = timedelta(minutes=10, seconds=1)
    assert send()
    assert len(mail.outbox) == 1


def test_a_worker_that_took_too_long_leaves_the_mail_to_its_successor(
    bob: User, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    queue(bob)

    def take_long(self: object, messages: object) -> None:
        clock.passed = timedelta(minutes=11)
        (found,) = outbox._due()
        assert outbox._claim(found)
        raise TimeoutError

    monkeypatch.setattr(EmailBackend, "send_messages", take_long)
    assert send()
    assert not outbox.has_due()
    assert OutgoingMail.objects.get().tries == 2


def test_mail_is_sent_even_if_the_clock_was_set_back(bob: User, clock: Clock) -> None:
    clock.passed = timedelta(days=1)
    queue(bob)
    clock.passed = timedelta()
    assert send()
    assert len(mail.outbox) == 1


# --- the worker ---------------------------------------------------------------------------------


def test_work_once_sends_due_mail(bob: User, eve: User) -> None:
    queue(bob)
    queue(eve)
    call_command("work", "--once")
    assert len(mail.outbox) == 2


def test_an_error_with_a_mail_does_not_stop_the_worker(
    bob: User, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queue(bob)

    def fail() -> bool:
        raise ValueError("odd")

    mailer = Mailer()
    monkeypatch.setattr(mailer, "run_once", fail)
    assert not Worker(mailer).run_once()
    assert "work problem=unexpected" in caplog.text


@pytest.fixture
def quiet_log(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


def test_no_line_of_the_log_has_the_link(bob: User, quiet_log: pytest.LogCaptureFixture) -> None:
    queue(bob)
    call_command("work", "--once")
    [message] = mail.outbox
    assert secret_of(message) not in quiet_log.text


@pytest.mark.django_db(transaction=True)
def test_mail_has_a_thread_of_its_own(bob: User, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = threading.Event()
    monkeypatch.setattr(EmailBackend, "send_messages", lambda self, messages: sent.set())
    queue(bob)
    # The other work takes longer.
    monkeypatch.setattr(Worker, "run_forever", lambda self: sent.wait(tools.PATIENCE))
    call_command("work")
    assert sent.is_set()
