"""The template tags for icons, with a cache, because heroicons serializes an icon each time it is used."""

from functools import cache

from django import template
from heroicons.templatetags import heroicons

register = template.Library()

for _draw in (heroicons.heroicon_micro, heroicons.heroicon_mini, heroicons.heroicon_outline):
    register.simple_tag(cache(_draw), name=_draw.__name__)
