"""Base classes of forms."""

import re
from collections.abc import Iterable
from functools import cache
from itertools import chain, count
from typing import Any

from django import forms
from django.forms.utils import flatatt
from django.http import HttpRequest, QueryDict
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from collections_app.files.names import collision_key
from collections_app.models.time_zones import time_zones


def posted(request: HttpRequest) -> QueryDict | None:
    """Return the form's data on POST, or None."""
    return request.POST if request.method == "POST" else None


_ID = re.compile(r"\d{1,18}", re.ASCII)


def is_id(text: str) -> bool:
    """Whether a text can be the id of a row."""
    return _ID.fullmatch(text) is not None


def free_name(name: str, taken: Iterable[str]) -> str:
    """Return the name, or the name with a number if it is taken, ignoring case and Unicode forms."""
    keys = set(map(collision_key, taken))
    numbered = (f"{name} {number}" for number in count(2))
    return next(each for each in chain([name], numbered) if collision_key(each) not in keys)


@cache
def _time_zone_options() -> str:
    return format_html_join("", '<option value="{}">{}</option>', _time_zone_choices())


def _time_zone_choices() -> list[tuple[str, str]]:
    return [(name, name.replace("_", " ")) for name in time_zones()]


class _TimeZoneSelect(forms.Select):
    """The options of hundreds of time zones, which Django takes 30 ms to render."""

    def render(
        self, name: str, value: Any, attrs: dict[str, Any] | None = None, renderer: Any = None
    ) -> SafeString:
        """Return the HTML, with the value as the selected option."""
        chosen = format_html('<option value="{}"', value)
        options = _time_zone_options().replace(f"{chosen}>", f"{chosen} selected>")
        flat = flatatt(self.build_attrs(self.attrs, {**(attrs or {}), "name": name}))
        return format_html("<select{}>{}</select>", flat, mark_safe(options))  # noqa: S308  # escaped


class TimeZoneField(forms.ChoiceField):
    """A choice of all time zones."""

    widget = _TimeZoneSelect

    def __init__(self, **kwargs: Any) -> None:
        choose = "Choose a time zone from the list."
        super().__init__(
            label="Time zone",
            choices=_time_zone_choices,
            error_messages={"required": choose, "invalid_choice": choose},
            **kwargs,
        )


class NameForm(forms.ModelForm):  # type: ignore[type-arg]  # Django's class can't be subscripted
    """A form with a name, which is a single line of text."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].widget.attrs["autocomplete"] = "off"


class ChangeNameForm(NameForm):
    """A new name for an existing object. Save no other field: it may have changed since it was read."""

    def save(self, commit: bool = True) -> Any:  # noqa: FBT001, FBT002  # Django's signature
        """Save the name."""
        super().save(commit=False)
        self.instance.save(update_fields=["name"])
        return self.instance
