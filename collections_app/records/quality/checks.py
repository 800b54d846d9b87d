"""The checks of a run: pure functions that compare its profile with those of earlier, trusted runs.

Limits are relative to what is usual: the median of the baseline, and its median absolute deviation (MAD).
A run in the baseline that a member called fine is usual as well, whatever the other runs look like.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from collections_app.models import VerdictLevel
from collections_app.records.quality.profile import Profile
from collections_app.records.quality.reasons import Check, Reason

# A run with fewer than this share of the usual number needs a check, or is broken.
_FEW, _VERY_FEW = 0.8, 0.5
# A share that differs from the usual one by more than this or 3 MAD, and by more than this if it is broken.
_DIFFERENCE, _LARGE_DIFFERENCE = 0.05, 0.25
_DUPLICATES_DIFFERENCE = 0.01
_MADS = 3
# Columns that fewer records have come and go.
_RARE = 0.01
# If usually fewer of the products than this stay, runs aren't expected to have the same ones.
_FEW_STAY = 0.2
_LOWEST_RATIO, _HIGHEST_RATIO = 0.5, 2
_LEAST_PRICES = 5
_TIMES_USUAL, _MANY_CHANGED = 3, 0.3
# What happens in this share of the runs happens usually. Fewer changed products may be zero by chance.
_USUALLY, _LEAST_CHANGED = 0.9, 5
_LEAST_COMPARED = 3
_ONE_TITLE, _MOST_WITH_ONE_TITLE, _LEAST_WITH_ONE_TITLE = 0.2, 0.5, 3

# A broken run may lack hundreds of columns.
MOST_REASONS = 30

_SEVERITY = [None, VerdictLevel.CHECK, VerdictLevel.BROKEN]


@dataclass(frozen=True)
class Usual:
    """A run of the baseline."""

    profile: Profile
    is_fine: bool = False  # a member said so
    failed: Collection[str] = ()  # the checks that it failed


Baseline = Sequence[Usual]
Measure = Callable[[Profile], float | None]
Level = VerdictLevel | None


def reasons(profile: Profile, baseline: Baseline) -> list[Reason]:
    """Return why a run needs a check or is broken: broken first, then in the order of the checks.

    There are at most MOST_REASONS.
    """
    checks = CHECKS if profile.records else (records, scraped)
    found = [reason for check in checks for reason in check(profile, baseline)]
    return sorted(found, key=lambda reason: -_SEVERITY.index(reason.level))[:MOST_REASONS]


def records(profile: Profile, baseline: Baseline) -> Iterator[Reason]:
    """Report too few records."""
    yield from _too_low(Check.RECORDS, profile, baseline, lambda each: each.records)


def scraped(profile: Profile, baseline: Baseline) -> Iterator[Reason]:
    """Report that too few of the requested records were scraped."""
    yield from _too_low(Check.SCRAPED, profile, baseline, _scraped_share)


def products(profile: Profile, baseline: Baseline) -> Iterator[Reason]:
    """Report that too few products are the same as before, as for another postcode in the key."""
    usual = _values(baseline, _matched_share)
    if usual and median(usual) >= _FEW_STAY:
        yield from _too_low(Check.PRODUCTS, profile, baseline, _matched_share)


def coverage(profile: Profile, baseline: Baseline) -> Iterator[Reason]:
    """Report columns that are filled in less often."""
    for column in profile.columns:
        yield from _fallen(Check.COVERAGE, profile, baseline, _coverage(column), column)


def columns(profile: Profile, baseline: Baseline) -> Iterator[Reason]:
    """Report columns that have vanished or appeared."""
    before = [set(each.profile.columns) for each in baseline]
    for column in sorted(set[str]().union(*before) - profile.columns.keys()):
        yield from _vanished(profile, baseline, column)
    for column in sorted(profile.columns.keys() - set[str]().union(*before)):
        if profile.coverage(column) >= _RARE:
            yield Reason(Check.NEW_COLUMN, VerdictLevel.CHECK, profile.coverage(column), 0, 0, column)


def _vanished(profile: Profile, baseline: Baseline, column: str) -> Iterator[Reason]:
    usual = _values(baseline, _coverage(column))
    if not _usually(usual) or median(usual) < _RARE:
        return
    level = _level_of_fall(0, usual, []) or VerdictLevel.CHECK
    yield Reason(Check.MISSING_COLUMN, level, 0, *usual_range(usual), column)


def numbers(profile: Profile, baseline: Baseline) -> Iterator[Reason]:
    """Report columns whose numbers have turned into text. Prices that can't be read break a run."""
    for column in profile.columns:
        if profile.coverage(column) < _RARE:
            continue
        for reason in _fallen(Check.NUMBERS, profile, baseline, _number_share(column), column):
            is_broken = column == profile.price_column and profile.median_price is None
            yield _with_level(reason, VerdictLevel.BROKEN if is_broken else VerdictLevel.CHECK)


def price_level(profile: Profile, baseline: Baseline) -> Iterator[Reason]:
    """Report prices that are several times as high or low as before, such as cents."""
    changes = profile.changes
    if changes is None or changes.price_ratio is None or changes.prices < _LEAST_PRICES:
        return
    if not _LOWEST_RATIO <= changes.price_ratio <= _HIGHEST_RATIO:
        usual = _values(baseline, _price_ratio) or [1]
        yield Reason(
            Check.PRICE_LEVEL,
            VerdictLevel.BROKEN,
            changes.price_ratio,
            *usual_range(usual),
            profile.price_column or "",
        )


def price_changes(profile: Profile, baseline: Baseline) -> Iterator[Reason]:
    """Report that far more prices have changed than usual."""
    share, usual = _changed_price_share(profile), _values(baseline, _changed_price_share)
    if share is None or not usual or share <= _MANY_CHANGED:
        return
    references = [median(usual), *_fine(baseline, _changed_price_share)]
    if all(_is_more(share, _TIMES_USUAL * reference) for reference in references):
        yield Reason(
            Check.PRICE_CHANGES,
            VerdictLevel.CHECK,
            share,
            *usual_range(usual),
            profile.price_column or "",
        )


def duplicates(profile: Profile, baseline: Baseline) -> Iterator[Reason]:
    """Report more records than usual whose key is missing or occurs more than once."""
    yield from _risen(Check.DUPLICATES, profile, baseline, _share(lambda each: each.duplicates))
    yield from _risen(Check.WITHOUT_KEY, profile, baseline, _share(lambda each: each.without_key))


def nothing_changed(profile: Profile, baseline: Baseline) -> Iterator[Reason]:
    """Report that nothing changed although it usually does, as if the pages were frozen."""
    changes = profile.changes
    # Pages with another product aren't frozen.
    if changes is None or changes.changed or not changes.matched or changes.matched < changes.products:
        return
    usual = _values(
        [each for each in baseline if each.is_fine or Check.NOTHING_CHANGED not in each.failed],
        _changed,
    )
    is_fine = 0 in _fine(baseline, _changed)
    if len(usual) < _LEAST_COMPARED or is_fine:
        return
    if _usually(usual) and median(usual) >= _LEAST_CHANGED:
        yield Reason(Check.NOTHING_CHANGED, VerdictLevel.CHECK, 0, *usual_range(usual))


def titles(profile: Profile, baseline: Baseline) -> Iterator[Reason]:
    """Report that many records have the same title, such as that of a captcha."""
    share = _title_share(profile)
    if share is None or share <= _ONE_TITLE or profile.common_titles < _LEAST_WITH_ONE_TITLE:
        return
    level = VerdictLevel.BROKEN if share > _MOST_WITH_ONE_TITLE else VerdictLevel.CHECK
    usual = _values(baseline, _title_share)
    if usual and _level_of_rise(share, usual, _fine(baseline, _title_share), _DIFFERENCE):
        yield Reason(
            Check.TITLES,
            level,
            share,
            *usual_range(usual),
            profile.title_column or "",
            profile.common_title,
        )


CHECKS = (
    records,
    scraped,
    products,
    coverage,
    columns,
    numbers,
    price_level,
    price_changes,
    duplicates,
    nothing_changed,
    titles,
)


# --- measures -----------------------------------------------------------------------------------


def _scraped_share(profile: Profile) -> float | None:
    if profile.extracted is None or not profile.total:
        return None
    return profile.extracted / profile.total


def _matched_share(profile: Profile) -> float | None:
    return profile.changes.matched_share if profile.changes else None


def _changed(profile: Profile) -> float | None:
    return profile.changes.changed if profile.changes else None


def _changed_price_share(profile: Profile) -> float | None:
    return profile.changes.changed_price_share if profile.changes else None


def _price_ratio(profile: Profile) -> float | None:
    return profile.changes.price_ratio if profile.changes else None


def _coverage(column: str) -> Measure:
    return lambda each: each.coverage(column)


def _number_share(column: str) -> Measure:
    return lambda each: each.number_share(column)


def _title_share(profile: Profile) -> float | None:
    return profile.common_titles / profile.records if profile.title_column and profile.records else None


def _share(count: Callable[[Profile], int]) -> Measure:
    return lambda each: count(each) / each.records if each.has_key and each.records else None


# --- limits -------------------------------------------------------------------------------------


def _values(baseline: Baseline, measure: Measure) -> list[float]:
    found = (measure(each.profile) for each in baseline)
    return [value for value in found if value is not None]


def _usually(usual: Sequence[float]) -> bool:
    """Whether a value is rarely zero."""
    return sum(value > 0 for value in usual) >= _USUALLY * len(usual)


def usual_range(usual: Sequence[float]) -> tuple[float, float]:
    """Return the range of the values in the baseline, without a fifth of them at each end."""
    ordered, ends = sorted(usual), len(usual) // 5
    return ordered[ends], ordered[-1 - ends]


def _fine(baseline: Baseline, measure: Measure) -> list[float]:
    return _values([each for each in baseline if each.is_fine], measure)


def _too_low(check: Check, profile: Profile, baseline: Baseline, measure: Measure) -> Iterator[Reason]:
    """Report a value that is much lower than usual."""
    value, usual = measure(profile), _values(baseline, measure)
    if value is None or not usual:
        return
    level = _mildest(_level_of_few(value, each) for each in [median(usual), *_fine(baseline, measure)])
    if level:
        yield Reason(check, level, value, *usual_range(usual))


def _level_of_few(value: float, usual: float) -> Level:
    if value >= _FEW * usual:
        return None
    return VerdictLevel.CHECK if value >= _VERY_FEW * usual else VerdictLevel.BROKEN


def _fallen(
    check: Check, profile: Profile, baseline: Baseline, measure: Measure, column: str
) -> Iterator[Reason]:
    """Report a share that is lower than usual."""
    value, usual = measure(profile), _values(baseline, measure)
    if value is None or not usual:
        return
    level = _level_of_fall(value, usual, _fine(baseline, measure))
    if level:
        yield Reason(check, level, value, *usual_range(usual), column)


def _risen(check: Check, profile: Profile, baseline: Baseline, measure: Measure) -> Iterator[Reason]:
    """Report a share that is higher than usual."""
    value, usual = measure(profile), _values(baseline, measure)
    if value is None or not usual:
        return
    level = _level_of_rise(value, usual, _fine(baseline, measure), _DUPLICATES_DIFFERENCE)
    if level:
        yield Reason(check, level, value, *usual_range(usual))


def _level_of_fall(value: float, usual: Sequence[float], fine: Sequence[float]) -> Level:
    return _level_of_rise(-value, [-each for each in usual], [-each for each in fine], _DIFFERENCE)


def _level_of_rise(value: float, usual: Sequence[float], fine: Sequence[float], least: float) -> Level:
    """Return the level of a share that is higher than usual. A negative share has fallen, maybe to zero."""
    middle = median(usual)
    limit = max(least, _MADS * median(abs(each - middle) for each in usual))

    def level(reference: float) -> Level:
        difference = value - reference
        if not _is_more(difference, limit):
            return None
        is_broken = _is_more(difference, _LARGE_DIFFERENCE) or not value
        return VerdictLevel.BROKEN if is_broken else VerdictLevel.CHECK

    return _mildest(map(level, [middle, *fine]))


def _is_more(value: float, limit: float) -> bool:
    """Whether a share exceeds a limit. Floats aren't exact."""
    return round(value - limit, 9) > 0


def _mildest(levels: Iterator[Level]) -> Level:
    return min(levels, key=_SEVERITY.index)


def _with_level(reason: Reason, level: VerdictLevel) -> Reason:
    return Reason(**{**vars(reason), "level": level})
