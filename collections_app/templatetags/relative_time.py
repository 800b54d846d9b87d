"""Times relative to now, and durations, in words."""

from datetime import datetime, timedelta

from django import template
from django.utils import timezone

from collections_app.views.durations import lasting as in_words

register = template.Library()


@register.filter
def relative_time(at: datetime) -> str:
    """Return a time such as "5 h ago", "in 3 h" or "just now"."""
    passed = timezone.now() - at
    if abs(passed) < timedelta(minutes=1):
        return "just now"
    return f"in {in_words(-passed)}" if passed < timedelta() else f"{in_words(passed)} ago"


@register.filter
def lasting(time: timedelta | None) -> str:
    """Return a duration such as "8 min", or "" if it is unknown."""
    return "" if time is None else in_words(time)
