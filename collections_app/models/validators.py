"""Validators for names of collections, teams, accounts, API keys and users."""

import unicodedata
from collections.abc import Callable, Sequence

from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator

# Includes characters that change the direction of text, which can make a name look like another.
no_control_characters = RegexValidator(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]",
    "Remove line breaks and other control characters.",
    inverse_match=True,
)

# Letters, numbers, punctuation and symbols. Marks need one of these to combine with.
_VISIBLE_CATEGORIES = frozenset("LNPS")
# Letters and symbols without a glyph: Hangul fillers, a blank Braille pattern, a musical null notehead, and
# the character that replaces an embedded object.
_BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800\U0001d159\ufffc")


def has_visible_character(name: str) -> None:
    """Raise ValidationError for a text that looks empty."""
    if not any(map(_is_visible, name)):
        raise ValidationError("Enter at least one visible character.")


def _is_visible(character: str) -> bool:
    return unicodedata.category(character)[0] in _VISIBLE_CATEGORIES and character not in _BLANK


NAME_VALIDATORS: Sequence[Callable[[str], None]] = [no_control_characters, has_visible_character]
