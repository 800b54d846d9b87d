"""The disks of the site: how much space is left, and for how long."""

import socket
from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from django.template.defaultfilters import filesizeformat
from django.utils import timezone

from collections_app.models import DiskSample
from collections_app.models.storage_use import GROWTH_PERIOD, Growth, growth_of
from collections_app.system import disk
from collections_app.views.durations import lasting

# Warn if the disk is full this soon, and don't name a date that is further away.
_SOON_DAYS = 14
_FAR_DAYS = 365

_Name = tuple[str, str]  # the machine and the folder


@dataclass(frozen=True)
class Disk:
    """A disk of a machine."""

    machine: str
    folders: list[str]
    space: disk.Space
    measured_at: datetime
    growth: Growth | None

    @property
    def used(self) -> int:
        """The number of bytes in use."""
        return self.space.total - self.space.free

    @property
    def used_percent(self) -> int:
        """The used share in percent."""
        return round(100 * (1 - self.space.share))

    @property
    def is_warning(self) -> bool:
        """Whether someone should free up space."""
        days = self.growth.days_until_full(self.space.free) if self.growth else None
        return self.space.is_low or (days is not None and days < _SOON_DAYS)

    @property
    def outlook(self) -> str:
        """When the disk will be full at its recent growth rate, as a sentence."""
        if self.growth is None:
            return "The growth rate will be known after a day."
        days = self.growth.days_until_full(self.space.free)
        if days is None:
            return f"No growth in the last {lasting(self.growth.period)}."
        speed = f"the last {lasting(self.growth.period)}: {_size(self.growth.per_day)} per day"
        if days > _FAR_DAYS:
            return f"Full in more than a year at the rate of {speed}."
        about = f"about {days:.0f} days" if days >= 2 else f"{max(1, round(24 * days))} h"  # noqa: PLR2004
        return f"Full in {about} at the rate of {speed}."


def disks() -> list[Disk]:
    """Return the disks, the fullest first. This machine's are measured now, the others' by their workers."""
    now, here = timezone.now(), socket.gethostname()
    samples: dict[_Name, list[DiskSample]] = defaultdict(list)
    for sample in DiskSample.objects.filter(measured_at__gte=now - GROWTH_PERIOD).order_by("measured_at"):
        samples[sample.machine, sample.folder].append(sample)
    newest = {name: _as_measured(found[-1]) for name, found in samples.items()}
    newest |= {(here, folder): (space, now) for folder, space in disk.spaces().items()}
    found = [
        Disk(machine, [folder], space, measured_at, growth_of(samples[machine, folder]))
        for (machine, folder), (space, measured_at) in newest.items()
    ]
    return sorted(_merged(found), key=lambda each: each.space.share)


def _as_measured(sample: DiskSample) -> tuple[disk.Space, datetime]:
    return disk.Space(sample.free, sample.total), sample.measured_at


def _merged(found: list[Disk]) -> list[Disk]:
    """Return folders with the same space on the same machine as one disk."""
    merged: dict[tuple[str, disk.Space], Disk] = {}
    for each in found:
        same = merged.setdefault((each.machine, each.space), each)
        if same is not each:
            same.folders.extend(each.folders)
    return list(merged.values())


def _size(size: float) -> str:
    return filesizeformat(size).replace("\xa0", " ")
