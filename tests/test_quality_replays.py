"""Replays of broken runs: each gets the right verdict, from its records."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from collections_app.models import RunCoverage
from collections_app.records.preview.engine import open_database
from collections_app.records.quality.checks import Usual, reasons
from collections_app.records.quality.product_changes import changes_since
from collections_app.records.quality.profile import Profile, profile_of
from collections_app.records.quality.run_kind import kind_of_columns
from collections_app.records.tracking.slices import SliceFile
from tests.test_tracking_compare import slice_of

Record = dict[str, Any]
Records = list[Record]
KEY = ("asin", "postcode")


def night(number: int) -> Records:
    """Return the records of a shop on a night: a tenth of the prices change, and every time."""
    return [
        {
            "asin": f"B{product:03}",
            "postcode": "2000",
            "title": f"Laptop {product}",
            "price": f"${1000 + product + (number if product % 10 == number % 10 else 0)}.00",
            "currency": "AUD",
            "in_stock": product % 7 != 0,
            "seller_name": "Nile",
            "scraped_at": f"2026-11-{number:02}T02:00:{product % 60:02}Z",
        }
        for product in range(100)
    ]


def without(*columns: str) -> Callable[[Record], Record]:
    return lambda record: {name: value for name, value in record.items() if name not in columns}


def a_hundred_times(record: Record) -> Record:
    return record | {"price": record["price"].replace(".", "")}


def captcha(record: Record) -> Record:
    is_blocked = record["asin"] < "B030"
    return record | {"title": "Are you a robot?", "price": None} if is_blocked else record


def elsewhere(record: Record) -> Record:
    return record | {"postcode": "6000"}


def frozen(record: Record) -> Record:
    """Return the record of the night before, but scraped now."""
    return night(3)[int(record["asin"][1:])] | {"scraped_at": record["scraped_at"]}


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[SliceFile, Profile]]:
    """Four usual nights."""
    folder = tmp_path_factory.mktemp("nights")
    found: list[tuple[SliceFile, Profile]] = []
    for number in range(4):
        file = slice_of(night(number), folder, str(number))
        found.append((file, profile(file, found[-1][0] if found else None)))
    return found


def profile(file: SliceFile, before: SliceFile | None) -> Profile:
    files = [file.path, *([before.path] if before else [])]
    with open_database(*files, seconds=60) as database:
        changes = changes_since(database, before, file, KEY) if before else None
        return replace(profile_of(database, file, KEY), changes=changes)


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (night(4), set()),
        ([*map(without("price"), night(4))], {"missing_column: broken"}),
        ([*map(a_hundred_times, night(4))], {"price_level: broken", "price_changes: check"}),
        (night(4)[:49], {"records: broken"}),
        ([*map(captcha, night(4))], {"titles: check", "coverage: broken"}),
        ([*map(elsewhere, night(4))], {"products: broken"}),
        ([*map(frozen, night(4))], {"nothing_changed: check"}),
        ([*night(4), *night(4)[:30]], {"duplicates: broken"}),
    ],
    ids=["usual", "no price", "cents", "half", "captcha", "postcode", "frozen", "duplicates"],
)
def test_a_broken_run_gets_the_right_verdict(
    tmp_path: Path, nights: list[tuple[SliceFile, Profile]], broken: Records, expected: set[str]
) -> None:
    run = profile(slice_of(broken, tmp_path), nights[-1][0])
    found = reasons(run, [Usual(usual) for _, usual in reversed(nights)])
    assert {f"{reason.check}: {reason.level}" for reason in found} == expected, [*map(str, found)]
    assert kind_of_columns(run) == RunCoverage.FULL


def test_a_run_with_only_stock_is_of_another_kind(tmp_path: Path) -> None:
    only_stock = slice_of(map(without("title", "price", "currency", "seller_name"), night(4)), tmp_path)
    assert kind_of_columns(profile(only_stock, None)) == RunCoverage.AVAILABILITY
