"""The checks of a run: each just inside and just outside its limit."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from collections_app.models import VerdictLevel
from collections_app.records.quality.checks import MOST_REASONS, Usual, reasons
from collections_app.records.quality.profile import ColumnProfile, ProductChanges, Profile

CHANGES = ProductChanges(
    products=1000, matched=1000, changed=100, prices=1000, changed_prices=50, price_ratio=1.0
)
GOOD = Profile(
    records=1000,
    extracted=1000,
    total=1000,
    columns={"asin": ColumnProfile(1000, 0), "price": ColumnProfile(1000, 1000)},
    has_key=True,
    title_column="title",
    common_title="Laptop",
    common_titles=1,
    price_column="price",
    median_price=10,
    changes=CHANGES,
)
CHECK, BROKEN = VerdictLevel.CHECK, VerdictLevel.BROKEN
Found = list[tuple[str, VerdictLevel]]


def column(filled: int, numbers: int | None = None, **more: Any) -> Profile:
    """Return a good run in which this many of 1,000 records have a price, and how many are numbers."""
    price = ColumnProfile(filled, filled if numbers is None else numbers)
    return replace(GOOD, columns={**GOOD.columns, "price": price}, **more)


def fewer(records: int) -> Profile:
    columns = {"asin": ColumnProfile(records, 0), "price": ColumnProfile(records, records)}
    return replace(GOOD, records=records, columns=columns)


def extra(filled: int) -> Profile:
    return replace(GOOD, columns={**GOOD.columns, "rating": ColumnProfile(filled, filled)})


def changes(**figures: Any) -> Profile:
    return replace(GOOD, changes=replace(CHANGES, **figures))


def found(run: Profile, baseline: Sequence[Profile | Usual]) -> Found:
    usual = [each if isinstance(each, Usual) else Usual(each) for each in baseline]
    return [(reason.check.value, reason.level) for reason in reasons(run, usual)]


STEADY = [GOOD] * 3
# Prices are missing in 0, 10 or 20% of the records.
UNSTEADY = [column(filled) for filled in (1000, 900, 800)]
UNSTEADY_TEXT = [column(1000, numbers) for numbers in (1000, 900, 800)]


@pytest.mark.parametrize(
    ("baseline", "run", "expected"),
    [
        # 1. Records, also of those that were requested, and of the same products.
        (STEADY, fewer(800), []),
        (STEADY, fewer(799), [("records", CHECK)]),
        (STEADY, fewer(500), [("records", CHECK)]),
        (STEADY, fewer(499), [("records", BROKEN)]),
        ([fewer(n) for n in (10, 500, 1000)], fewer(400), []),
        (
            [fewer(n) for n in (10, 500, 1000)],
            fewer(399),
            [("records", CHECK)],
        ),
        (STEADY, replace(GOOD, extracted=800), []),
        (STEADY, replace(GOOD, extracted=799), [("scraped", CHECK)]),
        (STEADY, replace(GOOD, extracted=499), [("scraped", BROKEN)]),
        (STEADY, replace(GOOD, extracted=None), []),
        ([replace(GOOD, extracted=600)] * 3, replace(GOOD, extracted=480), []),
        (STEADY, changes(matched=800), []),
        (STEADY, changes(matched=799), [("products", CHECK)]),
        (STEADY, changes(matched=499), [("products", BROKEN)]),
        ([changes(matched=199)] * 3, changes(matched=1), []),
        # 2. Coverage: 5 points or 3 MAD; 25 points or nothing.
        (STEADY, column(950), []),
        (STEADY, column(949), [("coverage", CHECK)]),
        (STEADY, column(750), [("coverage", CHECK)]),
        (STEADY, column(749), [("coverage", BROKEN)]),
        (UNSTEADY, column(600), []),
        (UNSTEADY, column(599), [("coverage", BROKEN)]),
        ([column(100)] * 3, column(0), [("coverage", BROKEN)]),
        ([column(50)] * 3, column(0), []),
        # 3. A column vanished or appeared.
        ([extra(10)] * 3, GOOD, [("missing_column", CHECK)]),
        ([extra(9)] * 3, GOOD, []),
        ([extra(51)] * 3, GOOD, [("missing_column", BROKEN)]),
        ([extra(51), extra(51), GOOD], GOOD, []),
        ([extra(51)] * 9 + [GOOD], GOOD, [("missing_column", BROKEN)]),
        (STEADY, extra(10), [("new_column", CHECK)]),
        (STEADY, extra(9), []),
        ([GOOD, GOOD, extra(10)], extra(10), []),
        # 4. Numbers turned into text.
        (STEADY, column(1000, 950), []),
        (STEADY, column(1000, 949), [("numbers", CHECK)]),
        (STEADY, column(1000, 0), [("numbers", CHECK)]),
        (STEADY, column(1000, 0, median_price=None), [("numbers", BROKEN)]),
        (UNSTEADY_TEXT, column(1000, 600), []),
        (UNSTEADY_TEXT, column(1000, 599), [("numbers", CHECK)]),
        # 5. The level of prices.
        (STEADY, changes(price_ratio=2.0), []),
        (STEADY, changes(price_ratio=2.01), [("price_level", BROKEN)]),
        (STEADY, changes(price_ratio=0.5), []),
        (STEADY, changes(price_ratio=0.49), [("price_level", BROKEN)]),
        (STEADY, changes(price_ratio=100.0, prices=4, changed_prices=0), []),
        # 6. More than 3 times the usual share of changed prices, and more than 30%.
        (STEADY, changes(changed_prices=300), []),
        (STEADY, changes(changed_prices=301), [("price_changes", CHECK)]),
        ([changes(changed_prices=150)] * 3, changes(changed_prices=450), []),
        ([changes(changed_prices=150)] * 3, changes(changed_prices=451), [("price_changes", CHECK)]),
        # 7. Duplicates and records without a key.
        (STEADY, replace(GOOD, duplicates=10), []),
        (STEADY, replace(GOOD, duplicates=11), [("duplicates", CHECK)]),
        (STEADY, replace(GOOD, duplicates=251), [("duplicates", BROKEN)]),
        ([replace(GOOD, duplicates=n) for n in (0, 20, 40)], replace(GOOD, duplicates=80), []),
        (
            [replace(GOOD, duplicates=n) for n in (0, 20, 40)],
            replace(GOOD, duplicates=81),
            [("duplicates", CHECK)],
        ),
        (STEADY, replace(GOOD, without_key=11), [("without_key", CHECK)]),
        # 8. Nothing changed though it usually does.
        (STEADY, changes(changed=1), []),
        (STEADY, changes(changed=0), [("nothing_changed", CHECK)]),
        (STEADY, changes(changed=0, matched=999), []),
        ([*STEADY, changes(changed=0)], changes(changed=0), []),
        ([GOOD] * 9 + [changes(changed=0)], changes(changed=0), [("nothing_changed", CHECK)]),
        ([GOOD, GOOD, replace(GOOD, changes=None)], changes(changed=0), []),
        ([changes(changed=5)] * 3, changes(changed=0), [("nothing_changed", CHECK)]),
        ([changes(changed=4)] * 3, changes(changed=0), []),
        # 9. Many records with the same title.
        (STEADY, replace(GOOD, common_titles=200), []),
        (STEADY, replace(GOOD, common_titles=201), [("titles", CHECK)]),
        (STEADY, replace(GOOD, common_titles=501), [("titles", BROKEN)]),
        ([replace(GOOD, common_titles=160)] * 3, replace(GOOD, common_titles=210), []),
        ([replace(GOOD, common_titles=160)] * 3, replace(GOOD, common_titles=211), [("titles", CHECK)]),
    ],
)
def test_a_check_fails_just_outside_its_limit(
    baseline: Sequence[Profile], run: Profile, expected: Found
) -> None:
    assert found(run, baseline) == expected


@pytest.mark.parametrize(
    "run",
    [
        fewer(400),
        replace(GOOD, extracted=400),
        changes(matched=100),
        column(500),
        column(1000, 0),
        changes(changed_prices=600),
        replace(GOOD, duplicates=300),
        changes(changed=0),
        replace(GOOD, common_titles=600),
    ],
)
def test_what_a_member_calls_fine_is_usual_afterwards(run: Profile) -> None:
    assert found(run, [GOOD] * 4)
    assert found(run, [GOOD] * 9 + [Usual(run, is_fine=True)]) == []


def test_a_page_that_stays_frozen_stays_suspicious() -> None:
    frozen = changes(changed=0)
    failed = Usual(frozen, failed={"nothing_changed"})
    assert found(frozen, [GOOD, GOOD, GOOD, failed, failed]) == [("nothing_changed", CHECK)]


def test_a_run_without_records_lacks_only_records() -> None:
    empty = Profile(records=0, extracted=0, total=1000)
    assert found(empty, STEADY) == [("records", BROKEN), ("scraped", BROKEN)]


def test_the_number_of_reasons_is_limited() -> None:
    many = replace(GOOD, columns={f"c{n}": ColumnProfile(1000, 0) for n in range(300)})
    assert len(found(GOOD, [many] * 3)) == MOST_REASONS


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (column(590), "price missing in 41% of records, usually 0 to 20%."),
        (fewer(499), "499 records, usually 1,000."),
        (changes(price_ratio=100.0), "Prices are 100 times the prices of the run before."),
        (changes(changed_prices=612), "61% of prices changed, usually 5%."),
        (changes(changed=0), "Nothing changed since the run before. Usually 100 products change."),
        (
            replace(GOOD, common_titles=300, common_title="Are you a robot?"),
            "30% of records have the title “Are you a robot?”. Usually at most 0.1% share one.",
        ),
    ],
)
def test_a_reason_says_the_number_and_the_usual_range(run: Profile, sentence: str) -> None:
    baseline = [Usual(GOOD), Usual(GOOD), Usual(column(990)), Usual(column(800))]
    assert sentence in [str(reason) for reason in reasons(run, baseline)]
