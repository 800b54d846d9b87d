"""Limits for failed sign-ins. They are the same whether or not a user with the email address exists.

An attempt is counted before its password is checked, so that parallel guesses don't get around a limit, and
taken back if the password is correct. An attempt that reaches a limit waits for those that are being checked.

allauth's rate limiter is private to it. Read in 65.21.1; tests/test_sign_in_limits.py fails if it changes.
"""

import math
import time
from collections.abc import Mapping, Sequence
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
from collections_app.system import database

# Limits for failed attempts, in allauth's notation.
_RATES = {
    # The only limit for a browser in which the user has signed in before.
    "device": "5/5m/key",
    "address": "10/m/ip",
    "address_and_email": "5/5m/key,20/d/key",
    # All addresses together. It takes at least ten of them to lock out another one.
    "email": "200/h/key",
}
# How long to wait for the passwords of other attempts to be checked.
_WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.1


class Attempt(RateLimitUsage):  # type: ignore[misc]  # allauth is not typed
    """A counted attempt. Each limit takes several statements, and one transaction is ten times as fast."""

    def begin(self) -> None:
        """Note that the password is being checked."""
        for each in self.usage:
            cache.set(_marker(each.cache_key, each.timestamp), value=True, timeout=_WAIT_SECONDS)

    @transaction.atomic
    def end(self) -> None:
        """Note that the password has been checked."""
        cache.delete_many(_marker(each.cache_key, each.timestamp) for each in self.usage)

    @transaction.atomic
    def rollback(self) -> None:
        """Take the attempt back, because the password is correct."""
        super().rollback()
        self.end()


class _LimitReached(Exception):
    """An attempt wasn't counted."""

    def __init__(self, action: str, key: str) -> None:
        super().__init__(action)
        self.action, self.key = action, key


def count(request: HttpRequest, email: str) -> Attempt:
    """Count an attempt to sign in. The caller calls its end() or rollback().

    Raises ValidationError, and doesn't count the attempt, if a limit is exceeded.
    """
    keys = _keys(request, email)
    until = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            return _count_now(request, keys)
        except _LimitReached as reached:
            full = _full_limits(request, reached.action, reached.key)
            is_final = any(not _is_being_checked(*each) for each in full.items())
            # If all of them have ended in the meantime, some may have been taken back.
            is_unchanged = is_final and full == _full_limits(request, reached.action, reached.key)
            if is_unchanged or time.monotonic() > until:
                raise _refusal(_free_at(full)) from None
        database.release_connections()
        time.sleep(_POLL_SECONDS)


@transaction.atomic
def _count_now(request: HttpRequest, keys: Mapping[str, str]) -> Attempt:
    attempt = Attempt([])
    for action, key in keys.items():
        counted = ratelimit.consume(request, app=__name__, action=action, config=_RATES, key=key)
        if counted is None:
            raise _LimitReached(action, key)
        attempt.usage += counted.usage
    attempt.begin()
    return attempt


def _marker(cache_key: str, timestamp: float) -> str:
    """Return the cache key that exists while the password of a counted attempt is being checked."""
    return f"{cache_key}:{timestamp!r}"


def _keys(request: HttpRequest, email: str) -> dict[str, str]:
    """Return the limits that apply, each with the key to count by."""
    email = User.objects.normalize_email(email)
    device = devices.recognize(request, email)
    if device:
        return {"device": device}
    address = ratelimit.get_ip(request)
    return {"address": address, "address_and_email": f"{address} {email}", "email": email}


def _full_limits(request: HttpRequest, action: str, key: str) -> dict[tuple[str, float], list[float]]:
    """Return the times of the attempts at each limit that is reached.

    The keys are the limit's key in the cache and its duration in seconds.
    """
    full, now = {}, time.time()
    for rate in ratelimit.get_rates(app=__name__, action=action, config=_RATES):
        cache_key = ratelimit.get_cache_key(request, app=__name__, action=action, rate=rate, key=key)
        counted = [at for at in cache.get(cache_key) or [] if at > now - rate.duration]
        if len(counted) >= rate.amount:
            full[cache_key, rate.duration] = counted
    return full


def _is_being_checked(limit: tuple[str, float], counted: Sequence[float]) -> bool:
    """Return whether some of the counted attempts may still be taken back."""
    cache_key, _ = limit
    return bool(cache.get_many(_marker(cache_key, timestamp) for timestamp in counted))


def _free_at(full: Mapping[tuple[str, float], Sequence[float]]) -> float:
    """Return when the next attempt is allowed, in seconds since 1970."""
    return max((counted[-1] + duration for (_, duration), counted in full.items()), default=time.time())


def _refusal(free_at: float) -> ValidationError:
    now = time.time()
    minutes = max(math.ceil((free_at - now) / 60), 1)
    until = datetime.fromtimestamp(math.ceil(free_at / 60) * 60, UTC)
    wait = timeuntil(until, until - timedelta(minutes=minutes)).replace("\xa0", " ")
    return ValidationError(
        f"Too many failed sign-ins. Try again in {wait} (at {until:%H:%M} UTC), or reset your password.",
        code="too_many_login_attempts",
    )
