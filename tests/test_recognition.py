"""Recognize pages, category lists and ZIPs, and reject anything else that an account may send."""

import gzip
import json
import zipfile

import pytest

from collections_app.records.formats.recognition import (
    BEGINNING,
    ENDING,
    EnvelopeFound,
    NotRecognized,
    Recognizer,
    RecordList,
    Zip,
)
from tests.support.faults import page_bytes
from tests.support.mirrors import zip_of

PAGE = b'[{"asin": "B1"}, {"asin": "B2", "price": null}]'
ENVELOPE = b'{"code": 500, "data": "Try again", "status": 0}'
ZIP = zip_of({"a.json": PAGE})

PAGES = [PAGE, b"[]", b" \r\n\t[ ]\n", b"\xef\xbb\xbf" + PAGE, b"[{}]", PAGE + b" " * 100_000]
LISTS = [b'{"asins": %s}' % PAGE, b'{"page": 1, "asins": []}', b'{"code": 200, "asins": [{}]}']
NEITHER = [
    b"",
    b" \n",
    b"\xef\xbb\xbf",
    ENVELOPE,
    b" \n" + ENVELOPE,
    b'{"asins": [], "code": 200, "status": 1}',
    b"<!DOCTYPE html><html></html>",
    b"<html><body>Sign in</body></html>",
    b'<?xml version="1.0"?><Error/>',
    b"{}",
    b'{"asin": "B1"}',
    b"null",
    b"true",
    b"0",
    b'"[]"',
    b"[1, 2]",
    b"[[]]",
    b'["B1"]',
    b"[null]",
    b'[{"asin": "B1"}, 2]',
    b'[{"asin": "B1"}',
    b'[{"asin": "B1"},',
    b'[{"asin": "B1"},]',
    b'[{"asin": "B',
    b"[",
    b"[,{}]",
    b"[{}] [{}]",
    b"[{}]\0",
    b"[{}],",
    b"[{asin: 1}]",
    b"[{'asin': 1}]",
    b'[{"price": NaN}]',
    b'[{"asin": "\xff"}]',
    PAGE.decode().encode("utf-16"),
    gzip.compress(PAGE, mtime=0),
    b'{"asin": "B1"}\n{"asin": "B2"}\n',
    b"asin,price\nB1,2\n",
    b"Internal Server Error",
    b"\0" * 100,
    ZIP,
    PAGE + ENVELOPE,
]
NO_ZIPS = [
    b"",
    ENVELOPE,
    b"<html></html>",
    PAGE,
    b"[]",
    gzip.compress(PAGE, mtime=0),
    ZIP[:-1],
    ZIP[: len(ZIP) // 2],
    ZIP[:4],
    ZIP + b"\n",
    b"\n" + ZIP,
    b"PK",
    b"PK\x05\x06",
]


def is_recognized(recognizer: Recognizer, content: bytes) -> bool:
    """Recognize a file as a stream does: by its beginning, then by its end."""
    try:
        recognizer.check_beginning(content[:BEGINNING], is_all=len(content) <= BEGINNING)
        recognizer.check_end(content[-ENDING:])
    except NotRecognized:
        return False
    return True


def shortly(content: object) -> str:
    return repr(content)[:50]


@pytest.mark.parametrize("content", PAGES, ids=shortly)
def test_a_page_is_a_list_of_records(content: bytes) -> None:
    assert is_recognized(RecordList(wrapped=False), content)
    assert is_recognized(RecordList(wrapped=True), content)


@pytest.mark.parametrize("content", LISTS, ids=shortly)
def test_only_category_lists_may_be_wrapped_in_an_object(content: bytes) -> None:
    assert is_recognized(RecordList(wrapped=True), content)
    assert not is_recognized(RecordList(wrapped=False), content)


@pytest.mark.parametrize("content", NEITHER, ids=shortly)
def test_nothing_else_is_a_page_or_a_list(content: bytes) -> None:
    assert not is_recognized(RecordList(wrapped=False), content)
    assert not is_recognized(RecordList(wrapped=True), content)


@pytest.mark.parametrize("content", [ZIP, zip_of({}), zip_of({"a": b"a"}, zipfile.ZIP_STORED)], ids=shortly)
def test_a_zip_begins_with_a_signature_and_ends_with_its_directory(content: bytes) -> None:
    assert is_recognized(Zip(), content)


def test_a_zip_may_have_a_comment_and_be_large() -> None:
    comment = b"PK\x05\x06" * 10
    content = ZIP[:-2] + len(comment).to_bytes(2, "little") + comment
    assert is_recognized(Zip(), content)
    assert is_recognized(Zip(), zip_of({"a": page_bytes(300_000)}, zipfile.ZIP_STORED))


@pytest.mark.parametrize("content", NO_ZIPS, ids=shortly)
def test_nothing_else_is_a_zip(content: bytes) -> None:
    assert not is_recognized(Zip(), content)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b" ", "nothing"),
        (b"<!doctype HTML>", "a web page"),
        (ENVELOPE, "an error"),
        (b"[1]", "something that is not a list of records (line 1, column 2: Expected a record, in { and })"),
    ],
    ids=shortly,
)
def test_the_problem_says_what_was_found(content: bytes, found: str) -> None:
    with pytest.raises(NotRecognized) as caught:
        RecordList(wrapped=False).check_beginning(content, is_all=True)
    assert str(caught.value) == found


@pytest.mark.parametrize(
    "recognizer", [RecordList(wrapped=False), RecordList(wrapped=True), Zip()], ids=["page", "list", "zip"]
)
@pytest.mark.parametrize("code", [404, "404", None])
def test_an_envelope_has_a_code(recognizer: Recognizer, code: object) -> None:
    content = json.dumps({"status": 0, "data": "No such file", "code": code}).encode()
    with pytest.raises(EnvelopeFound) as caught:
        recognizer.check_beginning(content, is_all=True)
    assert caught.value.code == code


# --- parts of files -----------------------------------------------------------------------------


def test_every_prefix_of_a_file_is_accepted_as_its_beginning() -> None:
    long_page, wrapped = page_bytes(5000), b'{"page": 1, "asins": %s}' % page_bytes(5000)
    for size in range(1, 5000, 7):
        RecordList(wrapped=False).check_beginning(long_page[:size], is_all=False)
        RecordList(wrapped=True).check_beginning(wrapped[:size], is_all=False)
    for size in range(1, len(ZIP)):
        Zip().check_beginning(ZIP[:size], is_all=False)


@pytest.mark.parametrize("at", [0, 1, 5000, BEGINNING - 1000])
def test_damage_anywhere_in_the_beginning_is_found(at: int) -> None:
    long_page = bytearray(page_bytes(100_000))
    long_page[at] = 0
    with pytest.raises(NotRecognized):
        RecordList(wrapped=False).check_beginning(bytes(long_page[:BEGINNING]), is_all=False)


@pytest.mark.parametrize("end", [b'"B1"}', b'{"asin": "B', b"]]}", b",", b"] }", b"</html>"], ids=shortly)
def test_a_page_ends_with_its_bracket(end: bytes) -> None:
    with pytest.raises(NotRecognized, match="a damaged list of records"):
        RecordList(wrapped=False).check_end(end)


def test_the_end_has_to_match_the_beginning() -> None:
    wrapped, plain = RecordList(wrapped=True), RecordList(wrapped=True)
    wrapped.check_beginning(b'{"asins": [{"asin": ', is_all=False)
    plain.check_beginning(b'[{"asin": ', is_all=False)
    wrapped.check_end(b"}]}")
    plain.check_end(b"}]")
    for recognizer, end in ((wrapped, b"}]"), (plain, b"}")):
        with pytest.raises(NotRecognized, match="a damaged list of records"):
            recognizer.check_end(end)


def test_the_end_of_a_part_is_checked_only_if_it_is_long_enough() -> None:
    RecordList(wrapped=False).check_end(b" \n")
    RecordList(wrapped=True).check_end(b"}")  # closes an object opened before this part
    Zip().check_end(ZIP[-5:])
    with pytest.raises(NotRecognized, match="a damaged ZIP"):
        Zip().check_end(bytes(ENDING))
