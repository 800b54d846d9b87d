"""Times relative to now, and durations, in words."""

from datetime import timedelta

from django import template

from collections_app.views.durations import lasting as in_words
from collections_app.views.durations import relative_time

register = template.Library()

_MINUTE = timedelta(minutes=1)

register.filter(relative_time)


@register.filter
def lasting(time: timedelta | None) -> str:
    """Return a duration such as "8 min" or "< 1 min", or "" if it is unknown."""
    if time is None:
        return ""
    return "< 1 min" if time < _MINUTE else in_words(time)
