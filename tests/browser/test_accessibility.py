"""The accessibility check itself, which samples the rows of long tables."""

import pytest
from playwright.sync_api import Page

from tests.support.accessibility import check_accessibility

FINE = '<td>{number}</td><td class="name"><a href="/{number}">Run {number}</a></td>'
BAD = {
    "a link without a text": '<td>{number}</td><td class="name"><a href="/{number}"></a></td>',
    "a pale text": '<td>{number}</td><td class="name"><font color="#dddddd">Run {number}</font></td>',
    "a field without a name": FINE + '<td><input value="{number}"></td>',
}


def show(page: Page, rows: list[str]) -> None:
    body = "".join(f"<tr>{row.format(number=number)}</tr>" for number, row in enumerate(rows, 1))
    page.set_content(
        '<!doctype html><html lang="en"><title>Runs</title>'
        f'<main><h1>Runs</h1><table cellpadding="20"><tbody>{body}</tbody></table></main></html>'
    )


def test_similar_rows_pass_and_are_restored(page: Page) -> None:
    show(page, [FINE] * 30)
    before = page.content()
    check_accessibility(page)
    assert page.content() == before


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_one_bad_row_among_many_is_found(page: Page, bad: str) -> None:
    show(page, [*[FINE] * 20, bad, *[FINE] * 9])
    with pytest.raises(AssertionError, match="Found 1 accessibility violations"):
        check_accessibility(page)


def test_a_problem_of_all_rows_is_found_in_the_checked_ones(page: Page) -> None:
    show(page, [BAD["a pale text"]] * 30)
    with pytest.raises(AssertionError, match=r"1\)\tTarget(.|\n)*2\)\tTarget"):
        check_accessibility(page)


def test_a_part_is_checked_in_any_context(page: Page) -> None:
    show(page, [BAD["a pale text"]] * 30)
    check_accessibility(page, "h1")
    with pytest.raises(AssertionError, match="color-contrast"):
        check_accessibility(page, "tr:nth-child(20)")
