"""Ten times the input takes about ten times as long, even if the input is hostile."""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice, product
from typing import Any, BinaryIO

import pytest

from collections_app.client import pull
from collections_app.files.bundles.pieces import JoinedBody, Part
from collections_app.models import Collection, FileKind
from collections_app.records.formats.flatten import Columns, flatten
from collections_app.runs.incoming.page_order import NamedFile, in_page_order
from collections_app.sources import rows
from collections_app.sources.upstream.runs import RemoteFile
from collections_app.system.search_normalization import search_form
from collections_app.views.run.cells import pretty
from tests.support.tools import cpu_seconds
from tests.support.upstream import remote_run

Work = Callable[[], object]


def names_that_differ_in_case_alone(size: int) -> Work:
    letters = product(*((letter, letter.upper()) for letter in "abcdefghijklmnopq"))
    record: dict[Any, Any] = dict.fromkeys(map("".join, islice(letters, size)))
    return lambda: Columns().add([record])


def chosen_columns_beside_a_long_key(size: int) -> Work:
    record = {"x" * 20 * size: {str(number): 1 for number in range(size)}}
    return lambda: Columns(["a"]).add([flatten(record)])


def an_accounts_files_of_the_same_name(size: int) -> Work:
    # They differ only in a part that is cut off from their names here.
    files = [
        RemoteFile(FileKind.PAGE, number, f"{'x' * 200}{number}{'x' * 200}1.json") for number in range(size)
    ]
    return partial(rows._files, replace(remote_run(1), files=tuple(files)), Collection())


def pulled_files_of_the_same_name(size: int) -> Work:
    return partial(pull.with_unique_names, [pull.Item("a", "page.json", None, None)] * size)  # type: ignore[arg-type]


def a_list_deep_within_lists(size: int) -> Work:
    items: list[Any] = [1] * size
    for _ in range(size // 40):
        items = [items]
    return partial(pretty, {"a": items})


def fractions_to_search(size: int) -> Work:
    return partial(search_form, "1\u00bd\u00d7" * size)


def an_imported_name_of_numbers(size: int) -> Work:
    return partial(in_page_order, [NamedFile("a", "page_1" * size), NamedFile("b", "1" * size)])


@dataclass(frozen=True)
class Stored:
    """One of many stored files."""

    number: int

    def open(self, start: int, length: int) -> BinaryIO:
        return io.BytesIO(b"x" * length)


def a_zip_of_many_files(size: int) -> Work:
    body = JoinedBody([piece for number in range(size) for piece in (b"header", Part(Stored(number), 0, 10))])

    def read() -> None:
        with body.open(0, body.size) as stream:
            while stream.read(65_536):
                pass

    return read


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("create_work", "size"),
    [
        (names_that_differ_in_case_alone, 400),
        (chosen_columns_beside_a_long_key, 400),
        (an_accounts_files_of_the_same_name, 250),
        (pulled_files_of_the_same_name, 400),
        (a_list_deep_within_lists, 2_000),
        (fractions_to_search, 5_000),
        (an_imported_name_of_numbers, 2_000),
        (a_zip_of_many_files, 1_500),
    ],
)
def test_ten_times_as_much_takes_about_ten_times_as_long(
    create_work: Callable[[int], Work], size: int
) -> None:
    # On a busy machine, CPU time varies. Quadratic code takes a hundred times as long in every try.
    assert any(takes_about_ten_times_as_long(create_work, size) for _ in range(3))


def takes_about_ten_times_as_long(create_work: Callable[[int], Work], size: int) -> bool:
    few, many = cpu_seconds(create_work(size)), cpu_seconds(create_work(10 * size))
    return many < 30 * few + 0.05
