"""The tags for icons, each of which is drawn once: the package draws it anew each time it is shown."""

from functools import cache

from django import template
from heroicons.templatetags import heroicons

register = template.Library()

for _draw in (heroicons.heroicon_micro, heroicons.heroicon_mini, heroicons.heroicon_outline):
    register.simple_tag(cache(_draw), name=_draw.__name__)
