"""The outbox: requests queue mail, and the worker sends it.

Requests don't wait for a mail server or fail with it, and their duration doesn't reveal whether mail is sent.
An email is sent at least once: if a worker is killed after the server has accepted it, it is sent again.
"""

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from smtplib import SMTPException, SMTPRecipientsRefused

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import F, Q, QuerySet

from collections_app.models import FailedMail, OutgoingMail
from collections_app.system import database, encryption

logger = logging.getLogger(__name__)

Data = dict[str, str]

# Longer than sending takes if the server is slow at every step (settings.EMAIL_TIMEOUT).
_LEASE = timedelta(minutes=10)
_FIRST_PAUSE = timedelta(minutes=1)
_LONGEST_PAUSE = timedelta(hours=1)
_FAILURES_KEPT_FOR = timedelta(days=7)
_LONGEST_PROBLEM = 200
_PERMANENT = 500  # and above: SMTP codes for permanent failures


def queue(data: Data, *, lasts: timedelta) -> bool:
    """Queue an email, and retry until it is sent or expires. The worker composes it from the data.

    Return False, and queue nothing, if there is no mail server.
    """
    if not settings.EMAIL_URL:
        return False
    now = database.now()
    # On SQLite, this prevents a key rotation between encrypting and writing.
    with transaction.atomic():
        encrypted = encryption.encrypt(json.dumps(data))
        OutgoingMail.objects.create(encrypted_data=encrypted, due_at=now, expires_at=now + lasts)
    return True


def has_due() -> bool:
    """Return whether the worker has mail to send now."""
    return _due().exists()


def send_next(compose: Callable[[Data], EmailMessage | None]) -> bool:
    """Send the email that has been due longest. Return whether there was one.

    `compose` returns the message, or None if it no longer needs to be sent.
    """
    mail = _due().order_by("due_at", "pk").first()
    if mail is None:
        return False
    if _claim(mail):
        _handle(mail, compose)
    return True


def _due() -> QuerySet[OutgoingMail]:
    now = database.now()
    # An email that is due later than the longest pause was tried before the clock was set back.
    due = Q(due_at__lte=now) | Q(due_at__gt=now + _LONGEST_PAUSE)
    if not settings.EMAIL_URL:
        due &= Q(expires_at__lte=now)
    return OutgoingMail.objects.filter(due)


def _mine(mail: OutgoingMail) -> QuerySet[OutgoingMail]:
    return OutgoingMail.objects.filter(pk=mail.pk, due_at=mail.due_at)


def _claim(mail: OutgoingMail) -> bool:
    """Claim the email for the length of a lease. Return False if another worker was faster."""
    until = database.now() + _LEASE
    taken = _mine(mail).update(due_at=until, tries=F("tries") + 1)
    mail.due_at, mail.tries = until, mail.tries + 1
    return bool(taken)


def _handle(mail: OutgoingMail, compose: Callable[[Data], EmailMessage | None]) -> None:
    if mail.expires_at <= database.now():
        _give_up(mail, "expired")
        return
    try:
        message = compose(json.loads(encryption.decrypt(mail.encrypted_data)))
        if message:
            message.send()
    except encryption.SecretUnreadable:
        _give_up(mail, "no encryption key can decrypt it")
    except OSError as error:
        _retry(mail, error)
    else:
        _mine(mail).delete()


def _retry(mail: OutgoingMail, error: OSError) -> None:
    if _is_permanent(error):
        _give_up(mail, _problem(error))
        return
    pause = min(_FIRST_PAUSE * 2 ** min(mail.tries - 1, 10), _LONGEST_PAUSE)
    logger.warning("mail=%s tries=%s problem=%s", mail.pk, mail.tries, _problem(error))
    _mine(mail).update(due_at=database.now() + pause, problem=_problem(error)[:_LONGEST_PROBLEM])


def _give_up(mail: OutgoingMail, problem: str) -> None:
    logger.error("mail=%s tries=%s problem=given up: %s", mail.pk, mail.tries, problem)
    now = database.now()
    with transaction.atomic():
        _mine(mail).delete()
        FailedMail.objects.create(tries=mail.tries, problem=problem[:_LONGEST_PROBLEM], failed_at=now)
        FailedMail.objects.filter(failed_at__lt=now - _FAILURES_KEPT_FOR).delete()


def _is_permanent(error: OSError) -> bool:
    """Return whether the server says that the mailbox doesn't exist."""
    return isinstance(error, SMTPRecipientsRefused) and all(
        code >= _PERMANENT for code, _ in error.recipients.values()
    )


def _problem(error: OSError) -> str:
    """Describe the error without the server's own words, which may quote the mail."""
    if isinstance(error, SMTPRecipientsRefused):
        codes = sorted({code for code, _ in error.recipients.values()})
        return " ".join([type(error).__name__, *map(str, codes)])
    if isinstance(error, SMTPException):
        return f"{type(error).__name__} {getattr(error, 'smtp_code', '')}".strip()
    return error.strerror or type(error).__name__
