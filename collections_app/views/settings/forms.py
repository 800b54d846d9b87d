"""The forms of a collection's settings."""

from datetime import date, timedelta
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db.models.functions import Lower
from django.utils import timezone

from collections_app.models import Acknowledgment, Collection, Membership, Schedule
from collections_app.models.rhythm import LEARNED_FROM, Interval, Rhythm
from collections_app.models.schedules import LONGEST_GRACE, LONGEST_INTERVAL, ScheduleKind
from collections_app.models.time_zones import zone
from collections_app.models.validators import NAME_VALIDATORS
from collections_app.records.currencies import CODES
from collections_app.views.forms import TimeZoneField
from collections_app.views.settings.words import WEEKDAYS

LEARNED = "learned"

_COMMON = {"time_zone", "grace_minutes"}
_FIELDS_OF = {
    LEARNED: set[str](),
    ScheduleKind.INTERVAL: {"every_hours", *_COMMON},
    ScheduleKind.TIME_OF_DAY: {"at", "weekdays", *_COMMON},
}

_LONGEST_ACKNOWLEDGMENT = timedelta(days=366)


def whole_number(label: str, most: int, **fields: Any) -> forms.IntegerField:
    """Return an optional field for a number from 1 to `most`."""
    between = f"Enter a whole number from 1 to {most:,}."
    return forms.IntegerField(
        label=label,
        required=False,
        validators=[MinValueValidator(1, between), MaxValueValidator(most, between)],
        error_messages={"invalid": between},
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "numeric"}),
        **fields,
    )


class ScheduleForm(forms.Form):
    """When runs are expected. The fields are those of a Schedule."""

    kind = forms.ChoiceField(
        label="Expect runs",
        choices=[(LEARNED, f"As learned from the last {LEARNED_FROM} runs"), *ScheduleKind.choices],
        widget=forms.RadioSelect,
    )
    every_hours = whole_number("Hours between runs", LONGEST_INTERVAL)
    at = forms.TimeField(
        label="Time of day",
        required=False,
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        error_messages={"invalid": "Enter a time, such as 07:30."},
    )
    weekdays = forms.MultipleChoiceField(
        label="Days",
        required=False,
        choices=[(str(number), name[:3]) for number, name in enumerate(WEEKDAYS)],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"invalid_choice": "Choose days from the list."},
    )
    time_zone = TimeZoneField()
    grace_minutes = whole_number(
        "Grace period (minutes)",
        LONGEST_GRACE,
        help_text="How long after the expected time a run is late. Runs may start up to two hours early.",
    )

    @staticmethod
    def initial_of(schedule: Schedule | None, rhythm: Rhythm | None, time_zone: str) -> dict[str, Any]:
        """Return the values of a schedule, or those of the learned rhythm, if any."""
        shown = schedule or _suggestion(rhythm, time_zone)
        names = ("every_hours", "at", "time_zone", "grace_minutes")
        values = {name: getattr(shown, name) for name in names}
        return values | {"kind": shown.kind if schedule else LEARNED, "weekdays": [*shown.weekdays]}

    def clean(self) -> dict[str, Any]:
        """Ignore the fields of other kinds, which the page hides, and their errors."""
        shown = _FIELDS_OF.get(self.cleaned_data.get("kind", ""), self.fields.keys())
        for name in self.fields.keys() - shown - {"kind"}:
            self.errors.pop(name, None)
            self.cleaned_data.pop(name, None)
        return self.cleaned_data

    @property
    def schedule(self) -> dict[str, Any] | None:
        """The fields of the schedule, or None to learn the rhythm instead."""
        values = dict(self.cleaned_data)
        if values["kind"] == LEARNED:
            return None
        if "weekdays" in values:
            values["weekdays"] = "".join(sorted(set(values["weekdays"])))
        if values["grace_minutes"] is None:
            values["grace_minutes"] = Schedule._meta.get_field("grace_minutes").default
        return values


def _suggestion(rhythm: Rhythm | None, time_zone: str) -> Schedule:
    """Return an unsaved schedule with the form's initial values."""
    if isinstance(rhythm, Interval):
        return Schedule(every_hours=max(1, round(rhythm.every / timedelta(hours=1))), time_zone=time_zone)
    if rhythm is None:
        return Schedule(time_zone=time_zone)
    return Schedule(
        at=rhythm.at,
        weekdays="".join(map(str, sorted(rhythm.weekdays))),
        time_zone=rhythm.zone.key,
        grace_minutes=rhythm.grace // timedelta(minutes=1),
    )


class AcknowledgeForm(forms.Form):
    """A note about a problem, and the day when it needs attention again."""

    note = forms.CharField(
        label="Note",
        max_length=Acknowledgment.LONGEST_NOTE,
        validators=NAME_VALIDATORS,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": "Enter a note about the problem."},
        help_text="What your team should know, such as “The shop is down until Monday.”",
    )
    until = forms.DateField(
        label="Until",
        input_formats=["%Y-%m-%d"],
        error_messages={"required": "Enter a date.", "invalid": "Enter a date, such as 2026-06-22."},
        help_text="On this day, the problem needs attention again.",
    )

    def __init__(self, *args: Any, time_zone: str, **kwargs: Any) -> None:
        self._today = timezone.now().astimezone(zone(time_zone)).date()
        super().__init__(*args, **kwargs)
        limits = {"min": self._today + timedelta(days=1), "max": self._today + _LONGEST_ACKNOWLEDGMENT}
        dates = {name: day.isoformat() for name, day in limits.items()}
        self.fields["until"].widget = forms.DateInput(attrs={"type": "date"} | dates, format="%Y-%m-%d")

    def clean_until(self) -> date:
        """Reject today, past days, and days more than a year from now."""
        until: date = self.cleaned_data["until"]
        if not self._today < until <= self._today + _LONGEST_ACKNOWLEDGMENT:
            raise ValidationError("Enter a date from tomorrow to a year from now.")
        return until


class TypeForm(forms.Form):
    """The type of a collection."""

    type = forms.ChoiceField(error_messages={"required": "Choose a type."})

    def __init__(self, *args: Any, collection: Collection, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["type"] = collection.kind
        field = self.fields["type"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(kind.value, kind.label) for kind in collection.possible_kinds]
        field.error_messages["invalid_choice"] = "The files of this collection's runs don't fit this type."


class CurrencyForm(forms.Form):
    """The currency of prices whose records name none."""

    currency = forms.CharField(
        required=False,
        widget=forms.TextInput(
            attrs={"autocomplete": "off", "autocapitalize": "characters", "spellcheck": "false", "size": 6}
        ),
        label="Currency code",
        help_text="Such as AUD. Files and exports stay unchanged. Leave it empty to show no currency.",
    )

    def clean_currency(self) -> str:
        """Return the code in upper case, or ""."""
        code = str(self.cleaned_data["currency"]).upper()
        if code and code not in CODES:
            raise ValidationError("Unknown currency. Enter its code of three letters, such as AUD.")
        return code


class _MemberChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # Django's class can't be subscripted
    def label_from_instance(self, obj: Membership) -> str:
        """Return the member's name."""
        return obj.user.get_full_name()


class OwnerForm(forms.Form):
    """The member who is responsible for a collection."""

    owner = _MemberChoice(
        Membership.objects.none(),
        required=False,
        empty_label="No owner",
        error_messages={"invalid_choice": "Choose a member of this team."},
    )

    def __init__(self, *args: Any, collection: Collection, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["owner"] = collection.owner_id
        field = self.fields["owner"]
        assert isinstance(field, forms.ModelChoiceField)
        members = collection.team.memberships.select_related("user")
        field.queryset = members.order_by(Lower("user__name"), "user__email")
