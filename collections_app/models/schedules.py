"""Schedules: when people expect the runs of a collection."""

from datetime import timedelta

from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import Q
from django.utils import timezone

from collections_app.models.collections import Collection
from collections_app.models.rhythm import Interval, Rhythm, TimeOfDay
from collections_app.models.time_zones import UTC, is_time_zone, zone

LONGEST_INTERVAL = 31 * 24  # hours
LONGEST_GRACE = 7 * 24 * 60  # minutes
EVERY_DAY = "0123456"


class ScheduleKind(models.TextChoices):
    """What a schedule consists of."""

    INTERVAL = "interval", "Every few hours"
    TIME_OF_DAY = "time_of_day", "At a time of day"


class Schedule(models.Model):
    """When people expect the runs of a collection. Without a schedule, the rhythm is learned."""

    collection = models.OneToOneField(Collection, on_delete=models.CASCADE, related_name="schedule")
    kind = models.CharField(max_length=11, choices=ScheduleKind.choices, default=ScheduleKind.TIME_OF_DAY)
    every_hours = models.PositiveSmallIntegerField(
        null=True, blank=True, validators=[MinValueValidator(1), MaxValueValidator(LONGEST_INTERVAL)]
    )
    at = models.TimeField("time of day", null=True, blank=True)
    weekdays = models.CharField(
        max_length=7,
        blank=True,
        default=EVERY_DAY,
        validators=[RegexValidator(r"\A0?1?2?3?4?5?6?\Z")],
        help_text="The digits of the weekdays in order; 0 is Monday.",
    )
    time_zone = models.CharField(max_length=60, default=UTC, validators=[is_time_zone])
    grace_minutes = models.PositiveSmallIntegerField(
        default=30, validators=[MinValueValidator(1), MaxValueValidator(LONGEST_GRACE)]
    )
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(
                    kind=ScheduleKind.INTERVAL, every_hours__isnull=False, every_hours__gte=1, at=None
                )
                | Q(kind=ScheduleKind.TIME_OF_DAY, every_hours=None, at__isnull=False, weekdays__gt=""),
                name="schedule_is_complete",
            ),
            models.CheckConstraint(condition=Q(grace_minutes__gte=1), name="schedule_has_grace"),
        ]

    def __str__(self) -> str:
        return f"The schedule of {self.collection_id}"

    def clean(self) -> None:
        """Clear the fields of the other kind. Raise ValidationError if a field of this kind is missing."""
        if self.kind == ScheduleKind.INTERVAL:
            self.at, self.weekdays = None, EVERY_DAY
            if self.every_hours is None:
                raise ValidationError({"every_hours": "Enter the number of hours between two runs."})
            return
        self.every_hours = None
        if self.at is None:
            raise ValidationError({"at": "Enter the time of day, such as 07:30."})
        if not self.weekdays:
            raise ValidationError({"weekdays": "Choose at least one day."})

    @property
    def rhythm(self) -> Rhythm:
        """The rhythm that was set."""
        its_zone, grace = zone(self.time_zone), timedelta(minutes=self.grace_minutes)
        if self.at is None:
            return Interval(timedelta(hours=self.every_hours or 1), grace, (its_zone,))
        return TimeOfDay(self.at, its_zone, frozenset(map(int, self.weekdays)), grace)
