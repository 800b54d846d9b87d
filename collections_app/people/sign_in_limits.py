"""Limits for failed sign-ins. They are the same whether or not a user with the email address exists.

allauth's rate limiter is private to it. Read in 65.21.1; tests/test_sign_in_limits.py fails if it changes.
"""

import math
import time
from datetime import UTC, datetime, timedelta

from allauth.core.internal import ratelimit
from allauth.core.internal.ratelimit import RateLimitUsage
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils.timesince import timeuntil

from collections_app.models import User
from collections_app.people import devices

# Limits for failed attempts, in allauth's notation.
_RATES = {
    # The only limit for a browser in which the user has signed in before.
    "device": "5/5m/key",
    "address": "10/m/ip",
    "address_and_email": "5/5m/key,20/d/key",
    # All addresses together. It takes at least ten of them to lock out another one.
    "email": "200/h/key",
}


class Attempt(RateLimitUsage):  # type: ignore[misc]  # allauth is not typed
    """A counted attempt. Each limit takes several statements, and one transaction is ten times as fast."""

    @transaction.atomic
    def rollback(self) -> None:
        """Take the attempt back."""
        super().rollback()


@transaction.atomic
def count(request: HttpRequest, email: str) -> Attempt:
    """Count an attempt to sign in.

    Raises ValidationError, and doesn't count the attempt, if a limit is exceeded.
    """
    attempt = Attempt([])
    for action, key in _keys(request, email).items():
        counted = ratelimit.consume(request, app=__name__, action=action, config=_RATES, key=key)
        if counted is None:
            raise _refusal(_free_at(request, action, key))
        attempt.usage += counted.usage
    return attempt


def _keys(request: HttpRequest, email: str) -> dict[str, str]:
    """Return the limits that apply, each with the key to count by."""
    email = User.objects.normalize_email(email)
    device = devices.recognize(request, email)
    if device:
        return {"device": device}
    address = ratelimit.get_ip(request)
    return {"address": address, "address_and_email": f"{address} {email}", "email": email}


def _free_at(request: HttpRequest, action: str, key: str) -> float:
    """Return when the next attempt is allowed, in seconds since 1970."""
    free_at = time.time()
    for rate in ratelimit.get_rates(app=__name__, action=action, config=_RATES):
        counted = cache.get(ratelimit.get_cache_key(request, app=__name__, action=action, rate=rate, key=key))
        if counted and len(counted) >= rate.amount:
            free_at = max(free_at, counted[-1] + rate.duration)
    return free_at


def _refusal(free_at: float) -> ValidationError:
    now = time.time()
    minutes = max(math.ceil((free_at - now) / 60), 1)
    until = datetime.fromtimestamp(math.ceil(free_at / 60) * 60, UTC)
    wait = timeuntil(until, until - timedelta(minutes=minutes)).replace("\xa0", " ")
    return ValidationError(
        f"Too many failed sign-ins. Try again in {wait} (at {until:%H:%M} UTC), or reset your password.",
        code="too_many_login_attempts",
    )
