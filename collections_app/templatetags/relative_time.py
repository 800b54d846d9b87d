"""Times relative to now, and durations, in words."""

from datetime import timedelta

from django import template

from collections_app.views.durations import lasting as in_words
from collections_app.views.durations import relative_time

register = template.Library()

register.filter(relative_time)


@register.filter
def lasting(time: timedelta | None) -> str:
    """Return a duration such as "8 min", or "" if it is unknown."""
    return "" if time is None else in_words(time)
