"""What the page of a run knows about its columns: prices, stock, and which columns come first."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from django.test import Client

from collections_app.models import Collection
from tests.support.previews import at_once  # noqa: F401
from tests.support.results import make_ready_run, make_run_of_pages
from tests.support.tools import all_or_some
from tests.test_view_run import DASH, address, facts, headers_of, numbers, page, rows, words

pytestmark = pytest.mark.django_db

SHOP: list[dict[str, Any]] = [
    {"id": 1, "price": "$1,299.00"},
    {"id": 2, "price": "$89.99"},
    {"id": 3, "price": "$9.50"},
]
SHOPS = [*SHOP, {"id": 4, "price": "£10"}, {"id": 5, "price": None}]


def prices(client: Client, collection: Collection, *values: Any, column: str = "price") -> str:
    """Return the facts about the records with these prices, as text."""
    run = make_ready_run(
        collection, [{"asin": str(index), column: each} for index, each in enumerate(values)]
    )
    return words(facts(client, run))


# --- prices -------------------------------------------------------------------------------------


def test_money_sorts_by_amount(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, SHOPS)
    assert numbers(page(as_bob, run, "?sort=price")) == [3, 4, 2, 1, 5]
    assert numbers(page(as_bob, run, "?sort=price&dir=desc")) == [1, 2, 4, 3, 5]
    assert numbers(page(as_bob, run, "?sort=price&q=%24")) == [3, 2, 1]


def test_sorting_says_that_currencies_are_not_converted(as_bob: Client, laptops: Collection) -> None:
    note = "“price” contains $, GBP. The amounts are sorted without converting them."
    assert note in words(page(as_bob, make_ready_run(laptops, SHOPS), "?sort=price"))
    assert "without converting" not in words(page(as_bob, make_ready_run(laptops, SHOP), "?sort=price"))
    beside = [{"final_price": "5", "currency": name, "rating": 4} for name in ("THB", "IDR", "THB", "")]
    run = make_ready_run(laptops, beside)
    note = "“final_price” contains IDR, THB. The amounts are sorted without converting them."
    assert note in words(page(as_bob, run, "?sort=final_price"))
    assert "without converting" not in words(page(as_bob, run, "?sort=rating"))


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["1.299,00 €", "89,99 €", "9,50 €"], [3, 2, 1]),
        (["10,-", "9,50", "1 000,-"], [2, 1, 3]),
        (["$5", "-$7", "$.99", 4, ""], [2, 3, 4, 1, 5]),
        (["99999999999999999999", "100000000000000000001", "100000000000000000000", "5"], [4, 1, 3, 2]),
    ],
)
def test_amounts_sort_in_any_notation(
    as_bob: Client, laptops: Collection, values: Sequence[object], order: list[int]
) -> None:
    run = make_ready_run(laptops, [{"amount": value} for value in values])
    assert numbers(page(as_bob, run, "?sort=amount")) == order


@pytest.mark.parametrize(
    ("values", "order", "low_and_high"),
    all_or_some(
        [
            (["3.350", "12", "899"], [2, 1, 3], ["", ""]),
            (["1,234", "999", "12"], [1, 3, 2], ["", ""]),
            (["0012345678905", "4006381333931", "05"], [1, 3, 2], ["", ""]),
            (["1_000", "nan", "inf", "7", "0x1", "-3"], [6, 4, 5, 1, 3, 2], ["", ""]),
            (["1E5", "7", "12"], [3, 1, 2], ["", ""]),
            (["5,20", "5.20", "12"], [3, 1, 2], ["", ""]),
            (["12", "3.350", "N/A"], [1, 2, 3], ["", ""]),
            (
                ["0.1234567890123456789", "0.1234567890123456788"],
                [2, 1],
                ["0.1234567890123456788", "0.1234567890123456789"],
            ),
            (
                ["-1234567890123456789012.5", "-1234567890123456789012.6", "1e+30", "1"],
                [2, 1, 4, 3],
                ["-1,234,567,890,123,456,789,012.6", "1,000,000,000,000,000,000,000,000,000,000"],
            ),
        ],
        4,
    ),
)
def test_sorting_and_facts_agree_on_what_is_a_number(
    as_bob: Client, laptops: Collection, values: list[str], order: list[int], low_and_high: list[str]
) -> None:
    run = make_ready_run(laptops, [{"n": value} for value in values])
    assert numbers(page(as_bob, run, "?sort=n")) == order
    assert re.findall(r'<td class="number">([^<]*)</td>', facts(as_bob, run))[-2:] == low_and_high


def test_sorting_says_why_amounts_are_sorted_as_text(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [{"price": text, "sku": text} for text in ("3.350", "12", "899")])
    note = "“price” is sorted as text. “3.350” can mean thousands or decimals."
    assert note in words(page(as_bob, run, "?sort=price"))
    assert "sorted as text" not in words(page(as_bob, run))


@pytest.mark.parametrize(
    ("values", "currency", "order", "shown"),
    [
        (["1,234", "999"], "USD", [2, 1], f"Price in USD USD 999.00 {DASH} USD 1,234.00"),
        (["10.000", "9000"], "IDR", [2, 1], f"Price in IDR IDR 9,000 {DASH} IDR 10,000"),
        (["1,234", "999"], "EUR", [1, 2], "“1,234” can mean thousands or decimals."),
    ],
)
def test_the_currency_column_settles_ambiguous_prices(
    as_bob: Client, laptops: Collection, values: list[str], currency: str, order: list[int], shown: str
) -> None:
    run = make_ready_run(laptops, [{"price": value, "currency": currency} for value in values])
    assert numbers(page(as_bob, run, "?sort=price")) == order
    assert shown in words(facts(as_bob, run))
    nested = [{"price": {"value": value, "currency": currency}} for value in values]
    assert numbers(page(as_bob, make_ready_run(laptops, nested), "?sort=price.value")) == order


def test_sorting_leaves_values_as_they_were_scraped(as_bob: Client, laptops: Collection) -> None:
    text = page(as_bob, make_ready_run(laptops, SHOPS), "?sort=price")
    assert [row[1] for row in rows(text)] == ["$9.50", "£10", "$89.99", "$1,299.00", DASH]


def test_text_that_is_not_money_sorts_as_text(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [{"price": text} for text in ("$9.50", "from $10", "$89.99")])
    assert numbers(page(as_bob, run, "?sort=price")) == [3, 1, 2]


def test_money_is_aligned_as_numbers(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [{"price": "$5", "sku": "100", "was_price": "12.50", "note": "5 pieces"}])
    cells = dict(re.findall(r'<td class="(\w+)">([^<]*)</td>', page(as_bob, run)))
    assert cells == {"number": "12.50", "text": "5 pieces"}
    assert re.findall(r'<td class="number">([^<]*)<', page(as_bob, run)) == ["$5", "12.50"]


@pytest.mark.parametrize(
    ("records", "shown"),
    [
        ([{"price": {"value": 2236, "currency": "AUD"}}], ["AUD 2,236.00"]),
        ([{"price_cents": 223600, "currency": "aud"}], ["AUD 2,236.00"]),
        ([{"price": "2.236,50", "currency": "€"}, {"price": None}], ["EUR 2,236.50", DASH]),
        ([{"price": 3350, "currency": "JPY"}], ["JPY 3,350"]),
        ([{"price": 3350}, {"price": 12.5}], ["3,350.00", "12.50"]),
        ([{"price": 3350}], ["3,350"]),
        ([{"price": "$2,236", "currency": "AUD"}], ["$2,236"]),
        ([{"price": "from 5", "currency": "AUD"}], ["from 5"]),
        ([{"price": 0.1234567, "currency": "USD"}, {"price": -5, "currency": 7}], ["USD 0.1234567", "-5.00"]),
    ],
)
@pytest.mark.parametrize("query", all_or_some(["", "?sort=id"], 1))
def test_prices_are_shown_as_money(
    as_bob: Client, laptops: Collection, records: list[Any], shown: list[str], query: str
) -> None:
    run = make_ready_run(laptops, [{"id": index} | record for index, record in enumerate(records)])
    assert [row[1] for row in rows(page(as_bob, run, query))] == shown


@pytest.mark.parametrize(
    ("record", "searches"),
    [
        ({"price": 1299, "currency": "€"}, ["1,299.00", '"EUR 1,299.00"', "1,299", "1299"]),
        ({"price_cents": 129950}, ["1,299.50", "129950"]),
        ({"was": {"price": "1.299,5"}}, ["1,299.50", "1.299,5"]),
        ({"price": "1.299"}, ["1,299.00", "1.299"]),
        ({"price": "1.2995e3"}, ["1,299.50"]),
        ({"title": "Lamp", "price": "$1,299"}, ["$1,299"]),
    ],
)
def test_a_search_finds_prices_as_they_are_shown(
    as_bob: Client, laptops: Collection, record: dict[str, Any], searches: list[str]
) -> None:
    run = make_ready_run(laptops, [record, {"title": "Cable", "price": None}])
    for search in searches:
        assert numbers(page(as_bob, run, {"q": search})) == [1], search


def test_prices_that_other_pages_disagree_with_stay_as_they_are(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [{"price": "1,299"}, *[{"price": "5,20"}] * 101])
    assert rows(page(as_bob, run, "?sort=price&q=5,20"))[0][1] == "5,20"


def test_only_prices_are_shown_as_money(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [{"weight": 2236, "stock": 1500, "currency": "AUD"}])
    assert rows(page(as_bob, run)) == [["1", "1500", "2236", "AUD"]]


def test_the_title_is_marked_so_that_it_stays_visible(as_bob: Client, laptops: Collection) -> None:
    assert 'class="records title-first"' in page(as_bob, make_ready_run(laptops, [{"productTitle": "Lamp"}]))
    assert 'class="records"' in page(as_bob, make_ready_run(laptops, [{"price": 5}]))


def test_each_currency_has_a_price_range(as_bob: Client, laptops: Collection) -> None:
    text = prices(as_bob, laptops, "$1,299.00", "$9.50", "£10", "$89.99")
    assert f"Price in $ $ 9.50 {DASH} $ 1,299.00" in text
    assert "Median $ 89.99 · 3 records" in text
    assert f"Price in GBP GBP 10 {DASH} GBP 10" in text


@pytest.mark.parametrize(
    ("column", "values", "shown"),
    all_or_some(
        [
            ("final_price", [100.5, 9.5], f"Price 9.50 {DASH} 100.50"),
            ("final_price", ["1.00500000e+02", "9.5"], f"Price 9.50 {DASH} 100.50"),
            ("finalPrice", ["100.5", "9.5"], f"Price 9.50 {DASH} 100.50"),
            ("price_cents", [10050, 950], f"Price 9.50 {DASH} 100.50"),
            ("priceCents", [1299, 500], f"Price 5.00 {DASH} 12.99"),
            ("price_cents", ["1299 USD", "500 USD"], f"Price in USD USD 5.00 {DASH} USD 12.99"),
            ("price", ["1.299,00 €", "5,20 €"], f"Price in EUR EUR 5.20 {DASH} EUR 1,299.00"),
            ("price", ["AUD 2,236.00", "AUD 5"], f"Price in AUD AUD 5.00 {DASH} AUD 2,236.00"),
            ("price", [0.1, 0.2, 0.3, 0.4], "Median 0.25"),
            (
                "price",
                ["999999999999999999.01 $", "999999999999999999.02 $"],
                "Median $ 999,999,999,999,999,999.02",
            ),
            ("price", ["$5"] * 3, "Median $ 5 · 3 records"),
            ("price", ["eur 10", "eur 6"], f"Price in EUR EUR 6 {DASH} EUR 10"),
            (
                "price",
                [1234567890123456789012, 1234567890123456789010],
                f"Price 1,234,567,890,123,456,789,010 {DASH} 1,234,567,890,123,456,789,012",
            ),
            ("price", ["0.1234567890123456789", "0.5"], f"Price 0.1234567890123456789 {DASH} 0.50"),
            ("price", [10**40, 5], "Its amounts have too many digits to summarize."),
            ("price", ["0012", "5"], "It contains “0012”, which isn't an amount of money."),
        ],
        5,
    ),
)
def test_prices_are_exact(
    as_bob: Client, laptops: Collection, column: str, values: list[Any], shown: str
) -> None:
    assert shown in prices(as_bob, laptops, *values, column=column)


def test_the_record_names_the_currency_of_its_price(as_bob: Client, laptops: Collection) -> None:
    nested = [{"price": {"value": 5, "currency": "AUD"}, "currency": "EUR"} for _ in range(3)]
    text = words(facts(as_bob, make_ready_run(laptops, nested)))
    assert f"Price in AUD AUD 5 {DASH} AUD 5" in text
    assert "column price.value" in text
    beside = [{"final_price": 5, "currency": name} for name in ("USD", "USD", "€", "?", None)]
    text = words(facts(as_bob, make_ready_run(laptops, beside)))
    for name, count in (("USD", "2 records"), ("EUR", "1 record")):
        assert f"Price in {name} {name} 5 {DASH} {name} 5" in text
        assert f"Median {name} 5 · {count}" in text
    assert f"Price 5 {DASH} 5" in text
    assert "Median 5 · 2 records" in text


def test_prices_that_name_no_currency_have_that_of_the_collection(
    as_bob: Client, laptops: Collection
) -> None:
    Collection.objects.update(currency="AUD")
    text = prices(as_bob, Collection.objects.get(), 7, 5)
    assert f"Price in AUD AUD 5 {DASH} AUD 7" in text
    assert "currency from the settings" in text


@pytest.mark.parametrize(
    ("records", "names"),
    [
        ([(5, "usd"), (700, "jpy")], {"USD", "JPY"}),
        ([(5, "US Dollar"), (700, "BTC")], {"US Dollar", "BTC"}),
        ([("$5", "USD"), ("$7", "AUD"), ("$8", None)], {"USD", "AUD", "$"}),
        ([("$5", "USD"), ("€7", "USD")], {"USD", "EUR"}),
    ],
)
def test_currencies_are_not_merged(
    as_bob: Client, laptops: Collection, records: list[Any], names: set[str]
) -> None:
    run = make_ready_run(laptops, [{"price": price, "currency": name} for price, name in records])
    text = words(facts(as_bob, run))
    assert text.count("Price in ") == len(names)
    assert all(f"Price in {name} {name} " in text for name in names)
    assert "without converting" in words(page(as_bob, run, "?sort=price"))


def test_six_of_many_currencies_are_shown(as_bob: Client, laptops: Collection) -> None:
    names = ["USD", "EUR", "AUD", "GBP", "CHF", "SEK", "NOK", "DKK"]
    text = prices(as_bob, laptops, *[f"{name} 5" for name in names * 2])
    assert text.count("Price in ") == 6
    assert "Prices in 2 more currencies aren't shown." in text
    many = [{"price": 5, "currency": f"currency {number}"} for number in range(1_200)]
    text = words(facts(as_bob, make_ready_run(laptops, many)))
    assert (
        "Price Unknown The column price can't be read as prices. Its currencies are written in too many"
        in text
    )


@pytest.mark.parametrize(
    ("values", "problem"),
    all_or_some(
        [
            (["$5", "from $10"], "It contains “from $10”, which isn't an amount of money."),
            (["3.350", "1.299"], "“3.350” can mean thousands or decimals."),
            (["5,20", "5.20"], "“5,20” and “5.20” are written differently."),
            (["$5", ["$6"]], "It contains lists, objects or booleans."),
            (["$5", "9" * 3_000_000], f"It contains “{'9' * 30}”, which isn't an amount of money."),
        ],
        3,
    ),
)
def test_a_column_that_is_not_money_says_why(
    as_bob: Client, laptops: Collection, values: list[Any], problem: str
) -> None:
    text = prices(as_bob, laptops, *values)
    assert f"Price Unknown The column price can't be read as prices. {problem}" in text


def test_prices_sorted_as_text_are_labeled(as_bob: Client, laptops: Collection) -> None:
    run = make_ready_run(laptops, [{"price": "1,299", "was": {"price": "from $5"}}, {"price": "5,20"}])
    for column, problem in (
        ("price", "“1,299” can mean thousands or decimals."),
        ("was.price", "It contains “from $5”, which isn't an amount of money."),
    ):
        text = page(as_bob, run, f"?sort={column}")
        assert f"“{column}” is sorted as text. {problem}" in words(text)
        assert 'data-announce="2 records shown, sorted as text"' in text
        assert words(text).count(" (as text)") == 1
    run = make_ready_run(laptops, [{"price": "$1,299"}, {"price": "$5.20"}, {"title": "Lamp"}])
    assert "as text" not in page(as_bob, run, "?sort=price") + page(as_bob, run, "?sort=title")


def test_the_first_column_of_prices_that_is_money_is_used(as_bob: Client, laptops: Collection) -> None:
    content = [{"price": "from $5", "sale_price": "", "buybox_price": "$5", "list_price": 9}]
    text = words(facts(as_bob, make_ready_run(laptops, content)))
    assert f"Price in $ $ 5 {DASH} $ 5" in text
    assert "column buybox_price" in text


# --- numbers ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "low", "high"),
    all_or_some(
        [
            (["5.10", "5.1"], "5.1", "5.1"),
            (
                ["12345678901234567891", "12345678901234567890"],
                "12,345,678,901,234,567,890",
                "12,345,678,901,234,567,891",
            ),
            ([-(2**60) - 1, -(2**60)], "-1,152,921,504,606,846,977", "-1,152,921,504,606,846,976"),
            ([2**53 + 1, 5], "5", "9,007,199,254,740,993"),
            ([0.0004, 1299.0], "0.0004", "1,299"),
            ([1e300, "5"], "5", "1E+300"),
            (["1e-999999999", "-0e-999999999", "5"], "0", "5"),
            ([10**399 + 1, "5"], "5", f"1.{'0' * 398}1E+399"),
            ([10**400, "5"], "5", ""),
            (["$1,299.50", "$5"], "5", "1,299.5"),
            (["$5", "£6"], "", ""),
        ],
        4,
    ),
)
def test_facts_do_not_round_numbers(
    as_bob: Client, laptops: Collection, values: list[Any], low: str, high: str
) -> None:
    text = facts(as_bob, make_ready_run(laptops, [{"n": value} for value in values]))
    assert re.findall(r'<td class="number">([^<]*)</td>', text)[-2:] == [low, high]


def test_facts_do_not_round_numbers_of_json(as_bob: Client, laptops: Collection) -> None:
    content = (
        b'[{"price":{"value":0.1234567890123456789,"note":null,"n":[1]}},'
        b'{"price":{"value":0.1234567890123456788}},{"price":{"value":1E-1}}]'
    )
    run = make_run_of_pages(laptops, {"page.json": content})
    assert numbers(page(as_bob, run, "?sort=price.value")) == [3, 2, 1]
    text = facts(as_bob, run)
    assert f"Price 0.10 {DASH} 0.1234567890123456789" in words(text)
    shown = re.findall(r'<td class="number">([^<]*)</td>', text)
    assert "0.1234567890123456789" in shown


# --- stock --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "values", "shown"),
    all_or_some(
        [
            (
                "availability",
                ["https://schema.org/InStock", "https://schema.org/OutOfStock"],
                "In stock 50% 1 of 2",
            ),
            ("availability", ["In stock.", "Only 3 left in stock", "Sold out", None], "In stock 67% 2 of 3"),
            ("stock_status", ["Auf Lager", "Pre-order", "Backorder"], "1 of 3 · 1 pre-order · 1 backorder"),
            ("stock", [5, 0, 12, 1], "In stock 75% 3 of 4"),
            ("stock", ["1,234,567", "0", "2,345"], "In stock 67% 2 of 3"),
            ("isAvailable", [True, "true", "no", False], "In stock 50% 2 of 4"),
        ],
        3,
    ),
)
def test_stock_is_counted_in_the_words_of_shops(
    as_bob: Client, laptops: Collection, column: str, values: list[Any], shown: str
) -> None:
    assert shown in prices(as_bob, laptops, *values, column=column)


def test_unknown_words_for_stock_are_named(as_bob: Client, laptops: Collection) -> None:
    text = prices(as_bob, laptops, "In stock", "Ask <in> store", "In stock. Ask us.", column="availability")
    assert "In stock 33% 1 of 3 · 2 unknown · column availability" in text
    assert "Unknown stock status: “Ask <in> store”, “In stock. Ask us.”." in text
    text = prices(as_bob, laptops, "Ask in store", column="availability")
    assert "In stock Unknown The column availability can't be read as stock." in text
    assert "“Ask in store” isn't a known stock status." in text
    content = [{"availability": "Ask in store", "stock": 5}, {"availability": "In stock", "stock": 0}]
    text = words(facts(as_bob, make_ready_run(laptops, content)))
    assert "In stock 50% 1 of 2 · column stock" in text


# --- columns ------------------------------------------------------------------------------------


def test_columns_are_shown_by_their_meaning(as_bob: Client, laptops: Collection) -> None:
    others = {f"key {number}": number for number in range(10)}
    meaning = {"brand": "Acer", "price": {"value": 5, "raw": "$5"}, "initial_price": 6, "name": "Laptop"}
    run = make_ready_run(laptops, [{"asin": "1"} | others | meaning])
    expected = ["name", "price.value", "initial_price", "brand", "asin", *(f"key {n}" for n in range(7))]
    assert headers_of(page(as_bob, run)) == expected
    assert headers_of(page(as_bob, run, "?column=key%209&column=brand&sort=asin")) == ["brand", "key 9"]


def test_more_records_keep_the_columns_that_are_shown(as_bob: Client, laptops: Collection) -> None:
    others = {f"key {number}": number for number in range(20)}
    run = make_ready_run(laptops, [others] * 100 + [others | {"title": "Late", "price": 5}])
    (more,) = re.findall(r'id="load-more" href="[^"]*(\?[^"#]*)', page(as_bob, run))
    assert rows(page(as_bob, run, more.replace("&amp;", "&")))[0][1:] == [str(n) for n in range(12)]
    assert address(run) in page(as_bob, run)
