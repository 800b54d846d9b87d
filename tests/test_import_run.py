import bz2
import gzip
import io
import json
import lzma
import os
import zipfile
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.utils import timezone
from pytest_django import Settings

from collections_app.management.commands import import_run as import_command
from collections_app.models import Collection, FileKind, Run, State
from collections_app.runs.incoming import checks, compressed
from collections_app.runs.incoming.files import Incoming
from collections_app.runs.repair import repair_runs
from collections_app.runs.writer import ResultSetWriter
from tests.support import tools
from tests.support.results import make_ready_run, records, stored_bytes, stored_keys, stored_records

PAGES = {
    "AU Laptops_88_Results_Page_1.json": b'[ {"asin": "B1"} ]\n',
    "AU Laptops_88_Results_Page_2.json": b'[{"asin": "B2"}]',
    "AU Laptops_88_Results_Page_10.json": b'[{"asin": "B3"}, {"asin": "B4"}]',
}

DAMAGED_ZIP = ": the ZIP is damaged or unsupported. Extract it, and import the files. Nothing was imported."


def import_run(collection: object, *files: Path, **options: Any) -> str:
    out = io.StringIO()
    call_command("import_run", str(collection), *map(str, files), stdout=out, **options)
    return out.getvalue()


def put(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def put_lines(folder: Path, content: Iterable[Mapping[str, Any]], name: str = "results.jsonl") -> Path:
    return put(folder, name, "".join(json.dumps(record) + "\n" for record in content))


def put_zip(folder: Path, members: Mapping[str, bytes], name: str = "all.zip") -> Path:
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return folder / name


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Any:
    """Import invalid files. Check that nothing is left behind, and return the error."""

    def refused(collection: object, *files: Path, **options: Any) -> str:
        before = list(Run.objects.order_by("pk").values())
        with pytest.raises(CommandError) as caught:
            import_run(collection, *files, **options)
        assert list(Run.objects.order_by("pk").values()) == before
        assert stored_keys() == []
        message = str(caught.value)
        assert "\n" not in message
        return message

    return refused


class TestPages:
    def test_pages_are_stored_byte_for_byte_in_numerical_order(
        self, laptops: Collection, tmp_path: Path
    ) -> None:
        files = [put(tmp_path, name, content) for name, content in reversed(PAGES.items())]
        out = import_run(101, *files)
        run = Run.objects.get()
        pages = run.files.filter(kind=FileKind.PAGE).order_by("position")
        assert {page.name: stored_bytes(page) for page in pages} == PAGES
        assert [page.name for page in pages] == list(PAGES)
        assert run.state == State.READY
        assert out == "Run 1 of AU Laptops: 4 records in 4 files.\n/collections/101/download\n"

    def test_numbers_in_every_spelling_are_sorted_as_numbers(
        self, laptops: Collection, tmp_path: Path
    ) -> None:
        names = ["page_1.json", "page_10.json", "page_2.json"]
        import_run(101, *(put(tmp_path, name, f'[{{"name": "{name}"}}]') for name in names))
        assert [record["name"] for record in stored_records(Run.objects.get())] == [
            "page_1.json",
            "page_2.json",
            "page_10.json",
        ]

    def test_files_of_finder_and_explorer_are_ignored(self, laptops: Collection, tmp_path: Path) -> None:
        names = [".DS_Store", "._page_1.json", "Thumbs.db", "desktop.ini", "page_1.json"]
        import_run(101, *(put(tmp_path, name, "[{}]" if name[0] == "p" else "\0") for name in names))
        assert Run.objects.get().extracted == 1

    def test_nothing_is_left_without_the_files_of_the_system(
        self, laptops: Collection, tmp_path: Path, refused: Any
    ) -> None:
        path = put(tmp_path, ".DS_Store", b"\0\0\0\1Bud1")
        assert refused(101, path) == (
            f"{path} was added by an operating system and contains no results. Nothing was imported."
        )

    def test_pages_without_numbers_keep_the_given_order(self, laptops: Collection, tmp_path: Path) -> None:
        import_run(101, *(put(tmp_path, name, "[{}]") for name in ("b Page_2.json", "a.json")))
        names = Run.objects.get().files.filter(kind=FileKind.PAGE).order_by("position")
        assert [page.name for page in names] == ["b Page_2.json", "a.json"]

    def test_the_printed_address_is_absolute_if_it_is_known(
        self, laptops: Collection, tmp_path: Path, settings: Settings
    ) -> None:
        settings.PUBLIC_URL = "https://results.example.com"
        out = import_run("AU Laptops", put(tmp_path, "a.json", "[{}]"))
        assert out == (
            "Run 1 of AU Laptops: 1 record in 2 files.\n"
            "https://results.example.com/collections/101/download\n"
        )

    def test_invalid_json_is_reported_with_file_line_and_column(
        self, laptops: Collection, tmp_path: Path, refused: Any
    ) -> None:
        valid = put(tmp_path, "a.json", "[{}]")
        broken = put(tmp_path, "b.json", '[\n {"asin": B1}\n]')
        assert refused(101, valid, broken) == (
            f"{broken}, line 2, column 11: Expected a value. Nothing was imported."
        )

    @pytest.mark.parametrize(
        ("name", "begin", "end", "position"),
        [
            ("a.json", '[{"a": ', "}]", "line 1, column 8"),
            ("a.jsonl", '{"a": 1}\n{"a": ', "}", "line 2, column 7"),
            ("a.json", '{"results": [{"a": ', "}]}", "line 1, column 20"),
            ("a.json", '{"results": [{}], "data": ', "}", "line 1, column 27"),
        ],
    )
    def test_a_value_that_is_nested_too_deeply(
        self,
        laptops: Collection,
        tmp_path: Path,
        refused: Any,
        name: str,
        begin: str,
        end: str,
        position: str,
    ) -> None:
        deep = put(tmp_path, name, begin + "[" * 100_000 + "]" * 100_000 + end)
        assert refused(101, deep) == (
            f"{deep}, {position}: The value is nested too deeply, in more than 500 objects and lists. "
            "Nothing was imported."
        )

    def test_a_file_that_is_not_json(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        page = put(tmp_path, "a.json", "<!DOCTYPE html>")
        assert refused(101, page) == (
            f"{page}, line 1, column 1: Expected a list of records, in [ and ]. Nothing was imported."
        )

    def test_pages_whose_names_are_the_same_after_cleaning_get_numbers(
        self, laptops: Collection, tmp_path: Path
    ) -> None:
        names = ["a:b.json", "a?b.json", "A*B.json", "AU Laptops_1_Results_All_Pages.zip"]
        import_run(101, *(put(tmp_path, name, "[]") for name in names))
        pages = Run.objects.get().files.filter(kind=FileKind.PAGE).order_by("position")
        assert [page.name for page in pages] == [
            "a_b.json",
            "a_b (2).json",
            "A_B (3).json",
            "AU Laptops_1_Results_All_Pages (2).zip",
        ]

    def test_pages_with_the_same_name_in_several_folders_get_numbers(
        self, laptops: Collection, tmp_path: Path
    ) -> None:
        for folder in ("10", "2"):
            (tmp_path / folder).mkdir()
            put(tmp_path / folder, "page.json", f'[{{"folder": {folder}}}]')
        import_run(101, tmp_path / "10" / "page.json", tmp_path / "2" / "page.json")
        run = Run.objects.get()
        pages = run.files.filter(kind=FileKind.PAGE).order_by("position")
        assert [page.name for page in pages] == ["page.json", "page (2).json"]
        assert stored_records(run) == [{"folder": 2}, {"folder": 10}]

    def test_the_same_file_twice(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        page, link = put(tmp_path, "a.json", "[]"), tmp_path / "b.json"
        link.symlink_to(page)
        for other in (page, link):
            assert refused(101, page, other) == (
                f"{page} and {other} are the same file. Pass it once. Nothing was imported."
            )

    def test_a_category_list_is_not_a_page(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        listed = put(tmp_path, "a.json", '\ufeff\n{"asins": [{}]}')
        assert refused(101, listed) == (
            f"{listed} is a category list, and this collection scrapes products. Nothing was imported."
        )

    @pytest.mark.parametrize(
        "content",
        [
            '{"code": 200, "data": [{"a": [{}]}, {}], "status": 1}',
            '\ufeff\n{\n"status": 1,\n"code": 200,\n"data": [\n{}\n]\n}\n',
            '{"data": [{"a": {}}\n,{}], "x": 1.5, "status": 1, "code": 200}',
        ],
    )
    def test_an_api_response_is_not_a_page(
        self, laptops: Collection, tmp_path: Path, refused: Any, content: str
    ) -> None:
        saved = put(tmp_path, "a.json", content)
        assert refused(101, saved) == (
            f"{saved} is an API response with a list of runs. Import the files that it "
            "links to. A page is a list of records: [{...}, {...}]. Nothing was imported."
        )

    @pytest.mark.parametrize("content", ["{}", '{"asin": "B1"}\n', '{"asin": {}\n}', '{"a": [1]}'])
    def test_one_object_is_not_a_page(
        self, laptops: Collection, tmp_path: Path, refused: Any, content: str
    ) -> None:
        saved = put(tmp_path, "a.json", content)
        assert refused(101, saved) == (
            f"{saved} is one object. A page is a list of records: [{{...}}, {{...}}]. "
            "JSON Lines files need the extension .jsonl. Nothing was imported."
        )

    def test_an_object_in_a_zip_is_not_a_page(
        self, laptops: Collection, tmp_path: Path, refused: Any
    ) -> None:
        path = put_zip(tmp_path, {"a.json": b'{"code": 200, "data": [], "status": 1}'})
        assert refused(101, path).startswith(f"{path}: a.json is an API response with a list of runs.")


class TestZip:
    def test_its_pages_are_imported(self, laptops: Collection, tmp_path: Path) -> None:
        members = {"folder/" + name: content for name, content in reversed(PAGES.items())}
        extras = {"folder/": b"", "__MACOSX/._page.json": b"\0"}
        import_run(101, put_zip(tmp_path, extras | members))
        pages = Run.objects.get().files.filter(kind=FileKind.PAGE).order_by("position")
        assert [(page.name, stored_bytes(page)) for page in pages] == list(PAGES.items())

    def test_files_of_finder_and_explorer_are_ignored(self, laptops: Collection, tmp_path: Path) -> None:
        page = "AU_1_Results_Page_1.json"
        extras = (".DS_Store", f"._{page}", "a/Thumbs.db", "a/desktop.ini", f"a/__MACOSX/b/._{page}")
        members = {f"run/{name}": b"\0" for name in extras} | {f"run/{page}": b'[{"a": 1}]'}
        import_run(101, put_zip(tmp_path, members))
        assert stored_records(Run.objects.get()) == [{"a": 1}]

    def test_only_files_of_finder_and_explorer(
        self, laptops: Collection, tmp_path: Path, refused: Any
    ) -> None:
        path = put_zip(tmp_path, {"a/.DS_Store": b"", "__MACOSX/x.json": b"[]"})
        assert refused(101, path) == f"{path} is a ZIP without pages. Nothing was imported."

    def test_our_own_zips_can_be_imported(self, laptops: Collection, tmp_path: Path) -> None:
        run = make_ready_run(laptops, records(5), page_size=2)
        path = put(tmp_path, "all.zip", stored_bytes(run.files.get(kind=FileKind.ARCHIVE)))
        import_run(101, path)
        assert stored_records(Run.objects.get(number=2)) == records(5)

    def test_a_member_that_is_not_a_page(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        path = put_zip(tmp_path, {"a.json": b"[]", "notes.txt": b"x"})
        assert refused(101, path) == (
            f"{path}: notes.txt is not a JSON file. A ZIP to import may contain only JSON and JSON "
            "Lines. "
            "Nothing was imported."
        )

    def test_a_damaged_member_is_named(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        path = put_zip(tmp_path, {"a.json": b"[{}]", "b.json": b"[{]"})
        assert refused(101, path).startswith(f"{path}: b.json, line 1, column 3: Expected a key")

    def test_a_zip_without_members(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        path = put_zip(tmp_path, {})
        assert refused(101, path) == f"{path} is a ZIP without pages. Nothing was imported."

    @pytest.mark.filterwarnings("ignore:Duplicate name")
    def test_a_member_twice(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        path = tmp_path / "all.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.json", "[]")
            archive.writestr("a.json", "[{}]")
        assert (
            refused(101, path) == f"{path} contains a.json twice. Create the ZIP again. Nothing was imported."
        )

    def test_long_names_keep_their_page_numbers(self, laptops: Collection, tmp_path: Path) -> None:
        names = [f"{'x' * 300}_Page_{number}.json" for number in (1, 10, 2)]
        import_run(101, put_zip(tmp_path, dict.fromkeys(names, b"[]")))
        pages = Run.objects.get().files.filter(kind=FileKind.PAGE).order_by("position")
        assert [page.name[-15:] for page in pages] == [
            "xxx_Page_1.json",
            "xxx_Page_2.json",
            "xx_Page_10.json",
        ]

    def test_an_encrypted_member(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        page, path = put(tmp_path, "a.json", "[{}]"), tmp_path / "all.zip"
        tools.run("7z", "a", "-psecret", path, page)
        assert refused(101, path) == (
            f"{path}: a.json is encrypted. Extract the ZIP, and import the pages. Nothing was imported."
        )

    def test_a_truncated_zip(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        path = put_zip(tmp_path, {"a.json": b"[{}]"})
        path.write_bytes(path.read_bytes()[:-10])
        assert refused(101, path) == f"{path}{DAMAGED_ZIP}"

    def test_a_damaged_member(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        path = put_zip(tmp_path, {"a.json": json.dumps(records(50)).encode()})
        content = bytearray(path.read_bytes())
        content[60:80] = b"\0" * 20
        path.write_bytes(content)
        assert refused(101, path).startswith(f"{path}: a.json")

    def test_a_member_with_a_wrong_checksum(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        path = tmp_path / "all.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("a.json", b'[{"asin": "B1"}]')
        path.write_bytes(path.read_bytes().replace(b"B1", b"B2"))
        assert refused(101, path) == f"{path}: a.json{DAMAGED_ZIP}"

    @pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_a_damaged_member_is_named_for_every_method(
        self, laptops: Collection, tmp_path: Path, refused: Any, method: int
    ) -> None:
        path = tmp_path / "all.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("a.json", json.dumps(records(5000)))
        content = bytearray(path.read_bytes())
        content[60:1000] = b"\xff" * 940
        path.write_bytes(content)
        assert refused(101, path) == f"{path}: a.json{DAMAGED_ZIP}"

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_every_method_can_be_read(self, laptops: Collection, tmp_path: Path, method: int) -> None:
        path = tmp_path / "all.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("a.json", json.dumps(records(5000)))
        import_run(101, path)
        assert stored_records(Run.objects.get()) == records(5000)

    @pytest.mark.parametrize(
        ("signature", "member"),
        [
            (b"PK\x01\x02", ""),  # the directory at the end
            (b"PK\x03\x04", ": \u2551\u25a0.json"),  # the member itself
        ],
    )
    def test_a_name_that_is_not_valid_utf_8(
        self, laptops: Collection, tmp_path: Path, refused: Any, signature: bytes, member: str
    ) -> None:
        path = put_zip(tmp_path, {"xx.json": b"[{}]"})
        content = bytearray(path.read_bytes().replace(b"xx.json", b"\xba\xfe.json"))
        content[content.index(signature) + (9 if signature == b"PK\x01\x02" else 7)] |= 0x08
        path.write_bytes(content)
        assert refused(101, path) == f"{path}{member}{DAMAGED_ZIP}"

    def test_a_zip_of_an_unsupported_version(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        path = put_zip(tmp_path, {"a.json": b"[{}]"})
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\x01\x02") + 6] = 99
        path.write_bytes(content)
        assert refused(101, path) == f"{path}{DAMAGED_ZIP}"

    def test_a_zip_with_shifted_offsets(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        path = put_zip(tmp_path, {"a.json": b"[{}]"})
        content = bytearray(path.read_bytes())
        content[content.index(b"PK\x01\x02") + 42] = 7
        path.write_bytes(content)
        assert refused(101, path) == f"{path}: a.json{DAMAGED_ZIP}"

    def test_a_name_cannot_control_the_terminal(
        self, laptops: Collection, tmp_path: Path, refused: Any
    ) -> None:
        path = put_zip(tmp_path, {"\x1b]0;evil\x07\u202e\x9b\r.json": b"[{]"})
        assert refused(101, path).startswith(f"{path}: \ufffd]0;evil\ufffd\ufffd\ufffd\ufffd.json, line 1, ")

    def test_pages_that_do_not_fit_on_the_disk(
        self, laptops: Collection, tmp_path: Path, refused: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checks, "free_space", lambda: 5 * 1024 * 1024)
        path = put_zip(tmp_path, {"a.json": b" " * 6 * 1024 * 1024 + b"[{}]"})
        assert refused(101, path) == (
            f"{path}: a.json needs 6.0\xa0MB, but the results storage has only 5.0\xa0MB free. "
            "Nothing was imported."
        )
        path = put_zip(tmp_path, dict.fromkeys(("a.json", "b.json"), b" " * 3 * 1024 * 1024 + b"[{}]"))
        assert "a.json and the other files need 6.0\xa0MB" in refused(101, path)

    def test_a_storage_that_does_not_know_its_free_space(
        self, laptops: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checks, "free_space", lambda: None)
        import_run(101, put(tmp_path, "a.json", "[{}]"))
        assert Run.objects.get().is_ready

    def test_a_member_that_is_larger_than_it_says(
        self, laptops: Collection, tmp_path: Path, refused: Any
    ) -> None:
        path = put_zip(tmp_path, {"a.json": b"[{}]" + b" " * 100_000})
        content = path.read_bytes()
        size = (100_004).to_bytes(4, "little")
        assert content.count(size) == 2
        path.write_bytes(content.replace(size, (4).to_bytes(4, "little")))
        assert refused(101, path) == f"{path}: a.json{DAMAGED_ZIP}"

    def test_a_category_does_not_accept_a_zip_of_pages(
        self, headphones: Collection, tmp_path: Path, refused: Any
    ) -> None:
        path = put_zip(tmp_path, PAGES)
        assert refused("Headphones", path) == (
            "Headphones is a category collection, so a run has one list, not 3 files. Nothing was imported."
        )


class TestJsonLines:
    @pytest.mark.parametrize("name", ["results.jsonl", "results.NDJSON", "results.json", "lines"])
    def test_records_are_cut_into_pages(self, laptops: Collection, tmp_path: Path, name: str) -> None:
        import_run(101, put_lines(tmp_path, records(501), name))
        run = Run.objects.get()
        assert stored_records(run) == records(501)
        assert run.file_count == 4

    def test_the_page_size_may_be_chosen(self, laptops: Collection, tmp_path: Path) -> None:
        call_command("import_run", "101", str(put_lines(tmp_path, records(5))), "--page-size=2")
        assert Run.objects.get().file_count == 4

    @pytest.mark.parametrize(
        ("size", "problem"),
        [
            ("0", "a page has at least one record"),
            ("-1", "a page has at least one record"),
            ("many", "not a number; use a number such as 250"),
        ],
    )
    def test_a_page_holds_at_least_one_record(
        self, laptops: Collection, tmp_path: Path, size: str, problem: str
    ) -> None:
        lines = put_lines(tmp_path, records(5))
        with pytest.raises(CommandError, match=f"argument --page-size: {problem}"):
            call_command("import_run", "101", str(lines), f"--page-size={size}")

    def test_several_files_make_one_run(self, laptops: Collection, tmp_path: Path) -> None:
        first, second = put_lines(tmp_path, records(3)), put_lines(tmp_path, records(3, 4), "2.jsonl")
        import_run(101, first, second)
        assert stored_records(Run.objects.get()) == records(6)

    def test_invalid_json_is_reported_with_file_line_and_column(
        self, laptops: Collection, tmp_path: Path, refused: Any
    ) -> None:
        lines = put(tmp_path, "a.jsonl", '{"a": 1}\n{"a": 1\n{"a": 1}\n')
        assert refused(101, lines) == (
            f"{lines}, line 2, column 8: Expected a comma, or the end of the object or list. "
            "Nothing was imported."
        )

    def test_they_do_not_mix_with_pages(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        page, lines = put(tmp_path, "a.json", "[]"), put_lines(tmp_path, records(1))
        assert refused(101, page, lines) == (
            f"{lines} is JSON Lines, but {page} isn't. All files of a run must have the same type. "
            "Nothing was imported."
        )

    @pytest.mark.parametrize("name", ["items.jl", "items.jsonlines", "items.JSONL", "items.jl.gz"])
    def test_a_single_record(self, laptops: Collection, tmp_path: Path, name: str) -> None:
        content = b'{"a":1}\n'
        import_run(101, put(tmp_path, name, gzip.compress(content) if name.endswith(".gz") else content))
        assert stored_records(Run.objects.get()) == [{"a": 1}]

    def test_a_file_with_a_single_record_among_others(self, laptops: Collection, tmp_path: Path) -> None:
        import_run(
            101, put_lines(tmp_path, records(2), "1.json"), put_lines(tmp_path, records(1, 3), "2.json")
        )
        assert stored_records(Run.objects.get()) == records(3)

    def test_numbers_stay_as_they_are_written(self, laptops: Collection, tmp_path: Path) -> None:
        text = b'{"p":1299.00,"q":0.1234567890123456789,"e":1E5}'
        import_run(101, put(tmp_path, "a.jsonl", text))
        page = Run.objects.get().files.get(kind=FileKind.PAGE)
        assert stored_bytes(page) == b"[\n" + text + b"\n]\n"

    def test_they_can_be_in_a_zip(self, laptops: Collection, tmp_path: Path) -> None:
        import_run(101, put_zip(tmp_path, {"a.jl": b'{"a": 1}\n', "b.json": b'{"a": 2}\n{"a": 3}\n'}))
        assert [record["a"] for record in stored_records(Run.objects.get())] == [1, 2, 3]


class TestGzip:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("page_1.json.gz", b'[{"a": 1},\n{"a": 2}]'),
            ("items.jsonl.gz", b'{"a":1}\n{"a":2}\n'),
            ("items.jl.GZ", b'{"a":1}\n{"a":2}\n'),
            ("items.json.gz", b'{"a":1}\n{"a":2}\n'),
            ("items.json.gz", b'{"search_results": [{"a": 1}, {"a": 2}]}'),
            ("items.json.gz", b'[{"a": 1}][{"a": 2}]'),
            ("items.json", b'[{"a": 1}, {"a": 2}]'),
        ],
    )
    def test_every_format(self, laptops: Collection, tmp_path: Path, name: str, content: bytes) -> None:
        import_run(101, put(tmp_path, name, gzip.compress(content)))
        assert stored_records(Run.objects.get()) == [{"a": 1}, {"a": 2}]

    @pytest.mark.parametrize("name", ["a.jsonl.gz", "a.JL.GZ", "a.jsonl"])
    def test_a_file_that_was_unpacked_keeps_its_format(
        self, laptops: Collection, tmp_path: Path, name: str
    ) -> None:
        import_run(101, put(tmp_path, name, b'{"a":1}\n'))
        assert stored_records(Run.objects.get()) == [{"a": 1}]

    @pytest.mark.parametrize(
        ("content", "program"),
        [
            (bz2.compress(b"[{}]"), "bzip2"),
            (lzma.compress(b"[{}]"), "xz"),
            (b"\x28\xb5\x2f\xfd\x04", "Zstandard"),
            (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
            (b"Rar!\x1a\x07", "RAR"),
        ],
    )
    def test_other_compressed_files(
        self, laptops: Collection, tmp_path: Path, refused: Any, content: bytes, program: str
    ) -> None:
        path = put(tmp_path, "a.json", content)
        assert (
            refused(101, path)
            == f"{path} is compressed with {program}. Unpack it first. Nothing was imported."
        )

    def test_a_page_is_stored_unpacked(self, laptops: Collection, tmp_path: Path) -> None:
        files = [put(tmp_path, f"{name}.gz", gzip.compress(content)) for name, content in PAGES.items()]
        import_run(101, *reversed(files))
        pages = Run.objects.get().files.filter(kind=FileKind.PAGE).order_by("position")
        assert [(page.name, stored_bytes(page)) for page in pages] == list(PAGES.items())

    def test_a_category_list(self, headphones: Collection, tmp_path: Path) -> None:
        import_run("Headphones", put(tmp_path, "a.json.gz", gzip.compress(b'{"asins": [{"asin": "B1"}]}')))
        assert Run.objects.get().extracted == 1

    def test_several_members(self, laptops: Collection, tmp_path: Path) -> None:
        content = gzip.compress(b'{"a":1}\n{"a"') + gzip.compress(b":2}\n") + b"\0" * 100
        import_run(101, put(tmp_path, "a.jsonl.gz", content))
        assert stored_records(Run.objects.get()) == [{"a": 1}, {"a": 2}]

    @pytest.mark.parametrize(
        "damage",
        [
            lambda content: content[:-10],
            lambda content: content[:5],
            lambda content: content + content[:-1],
            lambda content: content + b"more",
            lambda content: content + b"x",
            lambda content: content[:-8] + bytes(4) + content[-4:],
            lambda content: content[:30] + b"\xff" * 20 + content[50:],
            lambda content: content[:2] + b"\7" + content[3:],
        ],
    )
    @pytest.mark.parametrize("name", ["a.json.gz", "a.jsonl.gz"])
    def test_a_damaged_file(
        self, laptops: Collection, tmp_path: Path, refused: Any, name: str, damage: Callable[[bytes], bytes]
    ) -> None:
        content = (
            json.dumps(records(2000))
            if "jsonl" not in name
            else "".join(json.dumps(record) + "\n" for record in records(2000))
        )
        path = put(tmp_path, name, damage(gzip.compress(content.encode())))
        assert refused(101, path) == (
            f"{path} is damaged or incomplete. Create or download it again. Nothing was imported."
        )

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b"", "is empty."),
            (
                gzip.compress(b"[]", mtime=0),
                "is compressed twice. Unpack it with gunzip, and import the result.",
            ),
            (b"PK\x03\x04", "contains a ZIP. Unpack it with gunzip, and import the ZIP."),
        ],
        ids=["nothing", "gzip", "zip"],
    )
    def test_what_a_gzip_file_cannot_contain(
        self, laptops: Collection, tmp_path: Path, refused: Any, content: bytes, problem: str
    ) -> None:
        path = put(tmp_path, "a.gz", gzip.compress(content))
        assert refused(101, path) == f"{path} {problem} Nothing was imported."

    @pytest.mark.parametrize("content", [b" ", b"{},", b'{"a":1}\n'], ids=repr)
    @pytest.mark.parametrize("name", ["a.json.gz", "a.jsonl.gz"])
    def test_a_bomb_stops_before_anything_is_written(
        self,
        laptops: Collection,
        tmp_path: Path,
        refused: Any,
        monkeypatch: pytest.MonkeyPatch,
        name: str,
        content: bytes,
    ) -> None:
        monkeypatch.setattr(compressed, "_ALWAYS_ALLOWED", 1_000)
        monkeypatch.setattr(ResultSetWriter, "start", None)
        path = put(tmp_path, name, gzip.compress(content * 100_000))
        assert refused(101, path) == f"{path}{compressed.BOMB} Nothing was imported."

    def test_content_that_does_not_fit_on_the_disk(
        self, laptops: Collection, tmp_path: Path, refused: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(checks, "free_space", lambda: 50_000)
        path = put(tmp_path, "a.json.gz", gzip.compress(b" " * 60_000 + b"[{}]"))
        assert "a.json.gz needs 58.6\xa0KB, but the results storage has only 48.8\xa0KB" in refused(101, path)

    def test_a_zip_bomb(
        self, laptops: Collection, tmp_path: Path, refused: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(compressed, "_ALWAYS_ALLOWED", 1_000)
        path = put_zip(tmp_path, {"a.json": b"[" + b"{}," * 100_000 + b"{}]"})
        assert refused(101, path) == f"{path}{compressed.BOMB} Nothing was imported."


class TestObjects:
    def test_its_only_list_of_objects_becomes_a_page(self, laptops: Collection, tmp_path: Path) -> None:
        content = '{"q": "x", "ids": [1, 2], "search_results": [{"p": 1299.00}, {"p": 1E5}], "none": []}'
        import_run(101, put(tmp_path, "page_1.json", content))
        page = Run.objects.get().files.get(kind=FileKind.PAGE)
        assert (page.name, page.records) == ("page_1.json", 2)
        assert stored_bytes(page) == b'[{"p": 1299.00}, {"p": 1E5}]'

    def test_objects_and_lists_can_be_pages_of_one_run(self, laptops: Collection, tmp_path: Path) -> None:
        path = put_zip(tmp_path, {"1.json": b'[{"a": 1}]', "2.json": b'{\n"results": [\n{"a": 2}\n]\n}\n'})
        import_run(101, path)
        assert stored_records(Run.objects.get()) == [{"a": 1}, {"a": 2}]

    def test_with_several_lists_the_error_names_them(
        self, laptops: Collection, tmp_path: Path, refused: Any
    ) -> None:
        path = put(tmp_path, "a.json", '{"ads": [{}], "ids": [1], "\\u001b[31m": [{}], "results": [{}]}')
        assert refused(101, path) == (
            f'{path} contains 3 lists of objects: "ads", "\ufffd[31m", "results". '
            "Choose one with --records-at NAME. Nothing was imported."
        )

    def test_one_of_several_lists_can_be_chosen(self, laptops: Collection, tmp_path: Path) -> None:
        path = put(tmp_path, "a.json", '{"ads": [{"a": 1}], "results": [{"a": 2}], "more": {}}')
        import_run(101, path, records_at="results")
        assert stored_records(Run.objects.get()) == [{"a": 2}]

    def test_a_list_that_is_empty_has_to_be_chosen(
        self, laptops: Collection, tmp_path: Path, refused: Any
    ) -> None:
        path = put(tmp_path, "a.json", '{"results": [], "total": 0}')
        assert refused(101, path) == (
            f'{path} is one object without a list of records. Empty lists: "results". '
            "Choose one with --records-at NAME. Nothing was imported."
        )
        import_run(101, path, records_at="results")
        assert Run.objects.get().extracted == 0

    def test_an_empty_list_is_a_page_if_others_have_their_records_there(
        self, laptops: Collection, tmp_path: Path
    ) -> None:
        content = ['{"results": [{"a": 1}], "ids": []}', '{"results": [], "ids": []}']
        import_run(101, *(put(tmp_path, f"{at}.json", page) for at, page in enumerate(content)))
        pages = Run.objects.get().files.filter(kind=FileKind.PAGE).order_by("position")
        assert [stored_bytes(page) for page in pages] == [b'[{"a": 1}]', b"[]"]

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ('{"results": null}', ", line 1, column 13: Expected a list of records, in [ and ]."),
            ('{"message": "busy"}', ', line 1, column 20: Expected a list "results" in the object.'),
            (
                '{"results": [], "ads": [{}]}',
                ' contains 2 lists of objects: "ads", "results". Choose one with --records-at NAME.',
            ),
        ],
    )
    def test_a_page_without_the_list_that_others_have(
        self, laptops: Collection, tmp_path: Path, refused: Any, content: str, problem: str
    ) -> None:
        page, other = put(tmp_path, "1.json", '{"results": [{}]}'), put(tmp_path, "2.json", content)
        assert refused(101, page, other) == f"{other}{problem} Nothing was imported."

    @pytest.mark.parametrize("value", ["null", "2", "[]"])
    def test_a_list_in_which_not_all_values_are_records(
        self, laptops: Collection, tmp_path: Path, refused: Any, value: str
    ) -> None:
        path = put(tmp_path, "a.json", f'{{"results": [{value}, {{"a": 1}}]}}')
        assert refused(101, path) == (
            f"{path}, line 1, column 14: Expected a record, in {{ and }}. Nothing was imported."
        )

    def test_a_list_within_another_object_must_be_chosen(
        self, laptops: Collection, tmp_path: Path, refused: Any
    ) -> None:
        path = put(tmp_path, "a.json", '{"data": {"total": 1, "results": [{"a": 1}], "ads": []}}')
        assert refused(101, path) == (
            f'{path} is one object without a list of records. Lists in other objects: "data.results". '
            'Empty lists: "data.ads". Choose one with --records-at NAME. Nothing was imported.'
        )
        import_run(101, path, records_at="data.results")
        assert stored_records(Run.objects.get()) == [{"a": 1}]

    def test_a_key_with_a_dot_can_be_chosen(self, laptops: Collection, tmp_path: Path) -> None:
        path = put(tmp_path, "a.json", '{"data.results": [{"a": 1}], "ads": [{}]}')
        import_run(101, path, records_at="data.results")
        assert stored_records(Run.objects.get()) == [{"a": 1}]

    @pytest.mark.parametrize("options", [{}, {"records_at": "results"}])
    def test_a_list_twice(
        self, laptops: Collection, tmp_path: Path, refused: Any, options: dict[str, str]
    ) -> None:
        path = put(tmp_path, "a.json", '{"results": [{}],\n"results": [{}]}')
        assert refused(101, path, **options) == (
            f'{path}, line 2, column 12: Expected one "results" in the object, not two. Nothing was imported.'
        )

    def test_lists_in_other_objects_of_a_category(
        self, headphones: Collection, tmp_path: Path, refused: Any
    ) -> None:
        path = put(tmp_path, "a.json", '{"data": {"products": [{"asin": "B1"}]}}')
        assert 'Lists in other objects: "data.products". Choose one' in refused("Headphones", path)
        import_run("Headphones", path, records_at="data.products")
        assert Run.objects.get().extracted == 1

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ('{"a": [{}], "b": [{}]}', ' has no list "results". Its lists of objects: "a", "b".'),
            (
                '{"a": {"b": [{}]}, "c": []}',
                ' has no list "results". Lists in other objects: "a.b". Empty lists: "c".',
            ),
            ('{"a": 1}', ' has no list "results". It has no list of objects.'),
            ('{"results": {}}', ' has no list "results". It has no list of objects.'),
            ('{"results": 5}', ", line 1, column 13: Expected a list of records, in [ and ]."),
            ("[{}]", " is a list of records, not an object that contains a list."),
        ],
    )
    def test_the_chosen_list_must_exist(
        self, laptops: Collection, tmp_path: Path, refused: Any, content: str, problem: str
    ) -> None:
        path = put(tmp_path, "a.json", content)
        assert refused(101, path, records_at="results") == f"{path}{problem} Nothing was imported."

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ('{"asin": ', "line 1, column 10: Expected a value"),
            ('{"a": 1,', "line 1, column 9: Expected a key in double quotes"),
            ('{"results": [{"a": 1},\n{"a": NaN}]}', "line 2, column 7: NaN is not JSON"),
        ],
    )
    def test_a_damaged_object(
        self, laptops: Collection, tmp_path: Path, refused: Any, content: str, problem: str
    ) -> None:
        path = put(tmp_path, "a.json", content)
        assert refused(101, path) == f"{path}, {problem}. Nothing was imported."

    def test_an_error_response_is_never_a_page(
        self, laptops: Collection, tmp_path: Path, refused: Any
    ) -> None:
        path = put(tmp_path, "a.json", '{"code": 500, "errors": [{}], "status": 0}')
        assert refused(101, path).startswith(f"{path} is an API response. A page is a list of records")

    def test_thousands_of_lists(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        path = put(tmp_path, "a.json", json.dumps({"x" * 200 + str(key): [{}] for key in range(20_000)}))
        message = refused(101, path)
        assert message.startswith(f'{path} contains 20,000 lists of objects: "{"x" * 100}...", "x')
        assert " and 19,990 more. Choose one with --records-at NAME." in message
        assert len(message) < 2_000

    @pytest.mark.parametrize("content", ['{"results": [{"asin": "B1"}]}', '[{"asin": "B1"}]\n[]'])
    def test_a_category_list(self, headphones: Collection, tmp_path: Path, content: str) -> None:
        import_run("Headphones", put(tmp_path, "a.json", content))
        listed = Run.objects.get().files.get(name="category_asins.json")
        assert stored_bytes(listed) == b'[{"asin": "B1"}]'


class TestAppendedLists:
    def test_lists_that_follow_each_other_become_one_page(self, laptops: Collection, tmp_path: Path) -> None:
        import_run(101, put(tmp_path, "items.json", '[\n{"a":1}\n][\n{"a":2}\n]'))
        page = Run.objects.get().files.get(kind=FileKind.PAGE)
        assert (page.name, stored_bytes(page)) == ("items.json", b'[\n{"a":1}\n,{"a":2}\n]')

    def test_an_error_in_a_later_list(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        path = put(tmp_path, "items.json", '[\n{"a":1}\n][\n{"a":x}\n]')
        assert refused(101, path) == f"{path}, line 4, column 6: Expected a value. Nothing was imported."


class TestCategoryLists:
    @pytest.mark.parametrize("content", ['[{"asin": "B1"}]', '{"asins":\n [{"asin": "B1"}]}'])
    def test_a_list_is_stored_unchanged(self, headphones: Collection, tmp_path: Path, content: str) -> None:
        import_run("Headphones", put(tmp_path, "whatever.json", content))
        run = Run.objects.get()
        assert stored_bytes(run.files.get(name="category_asins.json")) == content.encode()
        assert run.files.filter(name="category_asins.csv").exists()
        assert run.extracted == 1

    def test_json_lines_become_a_list(self, headphones: Collection, tmp_path: Path) -> None:
        import_run("Headphones", put_lines(tmp_path, records(3)))
        assert stored_records(Run.objects.get()) == records(3)

    @pytest.mark.parametrize(
        "content",
        [
            '{"total": 1, "asins": [{"asin": "B1"}]}',
            '{"asins": [{"asin": "B1"}], "next": {"asins": 1}}',
            '{\n"a": {},\n"b": [],\n"asins": [\n{"asin": "B1"}\n]\n}',
        ],
    )
    def test_the_list_may_be_anywhere_in_its_object(
        self, headphones: Collection, tmp_path: Path, content: str
    ) -> None:
        import_run("Headphones", put(tmp_path, "a.json", content))
        run = Run.objects.get()
        assert stored_bytes(run.files.get(name="category_asins.json")) == content.encode()
        assert stored_bytes(run.files.get(name="category_asins.csv")).count(b"B1") == 1
        assert run.extracted == 1

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ('{"asins": null}', "column 11: Expected a list of records, in [ and ]"),
            ('{"asins": {"a": 1}}', "column 11: Expected a list of records, in [ and ]"),
            ("{}", 'column 3: Expected a list, or an object with the list in it: {"asins": [...]}'),
            ('{"code": 200, "data": {}}', "column 26: Expected a list, or an object with the list in it"),
        ],
    )
    def test_an_object_without_a_list(
        self, headphones: Collection, tmp_path: Path, refused: Any, content: str, message: str
    ) -> None:
        path = put(tmp_path, "a.json", content)
        assert refused("Headphones", path).startswith(f"{path}, line 1, {message}")


class TestWhatCanNotBe:
    def test_a_missing_file(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        missing = tmp_path / "no.json"
        assert refused(101, missing) == f"The file {missing} doesn't exist. Nothing was imported."

    def test_a_folder(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        assert refused(101, tmp_path) == (
            f"{tmp_path} is a folder. Pass the files in it, such as {tmp_path}/*.json. Nothing was imported."
        )

    def test_a_device(self, laptops: Collection, refused: Any) -> None:
        assert refused(101, Path("/dev/null")) == "/dev/null is not a file. Nothing was imported."

    def test_an_empty_file(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        empty = put(tmp_path, "a.json", "")
        assert refused(101, empty) == f"{empty} is empty. Nothing was imported."

    def test_an_unknown_collection(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        page = put(tmp_path, "a.json", "[]")
        assert 'No collection has the id or name "No such"' in refused("No such", page)

    @pytest.mark.parametrize(
        ("name", "shown"),
        [("9" * 5000, "9" * 100 + "..."), ("\x1b[31mred", "\ufffd[31mred"), ("0" * 30, "0" * 30)],
    )
    @pytest.mark.usefixtures("laptops")
    def test_a_malicious_name(self, tmp_path: Path, refused: Any, name: str, shown: str) -> None:
        assert refused(name, put(tmp_path, "a.json", "[]")) == (
            f'No collection has the id or name "{shown}".'
        )

    def test_a_collection_argument_that_is_not_text(
        self, laptops: Collection, tmp_path: Path, refused: Any
    ) -> None:
        message = refused(os.fsdecode(b"caf\xe9"), put(tmp_path, "a.json", "[]"))
        assert message == 'Error: argument COLLECTION: "caf\ufffd" is not UTF-8 text'

    def test_a_path_that_is_too_long(self, laptops: Collection, refused: Any) -> None:
        path = Path("x\x1b" * 2000)
        assert refused(101, path) == "x\ufffd" * 2000 + ": File name too long. Nothing was imported."

    def test_a_file_that_cannot_be_read(self, laptops: Collection, refused: Any) -> None:
        assert refused(101, Path("/proc/self/mem")) == (
            "/proc/self/mem can't be read (Input/output error). Nothing was imported."
        )

    def test_a_file_that_cannot_be_read_to_its_end(
        self, laptops: Collection, tmp_path: Path, refused: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        page = put(tmp_path, "a.json", "[{}]")

        def unreadable() -> IO[bytes]:
            return Path("/proc/self/mem").open("rb")

        broken = Incoming(str(page), str(tmp_path), "a.json", 4, unreadable)
        monkeypatch.setattr(import_command, "incoming_files", lambda paths, stack: [broken])
        assert refused(101, page) == f"{page} can't be read (Input/output error). Nothing was imported."

    @pytest.mark.parametrize(
        ("problem", "message"),
        [
            ("disk I/O error", "disk I/O error. Is the disk full?"),
            ("database or disk is full", "database or disk is full."),
        ],
    )
    def test_a_read_only_database(
        self, laptops: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str, message: str
    ) -> None:
        def full(*args: object, **fields: object) -> None:
            raise OperationalError(problem)

        with monkeypatch.context() as patch:
            patch.setattr(ResultSetWriter, "_change", full)
            patch.setattr(ResultSetWriter, "discard", full)
            with pytest.raises(CommandError) as caught:
                import_run(101, put(tmp_path, "a.json", "[{}]"))
        assert str(caught.value) == f"The database can't be used: {message} Nothing was imported."
        # Undoing it failed as well.
        assert Run.objects.get().state == State.PROCESSING
        Run.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
        assert repair_runs().failed_runs
        assert not stored_keys()

    def test_an_ambiguous_name(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        other = Collection.objects.create(team=laptops.team, name=laptops.name)
        page = put(tmp_path, "a.json", "[]")
        assert f"101, {other.pk}" in refused("AU Laptops", page)

    def test_a_name_that_is_not_text(self, laptops: Collection, tmp_path: Path, refused: Any) -> None:
        page = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.json"))
        assert refused(101, page) == f"The file {tmp_path}/caf�.json doesn't exist. Nothing was imported."

    def test_a_full_disk(
        self,
        laptops: Collection,
        tmp_path: Path,
        refused: Any,
        monkeypatch: pytest.MonkeyPatch,
        results_folder: Path,
    ) -> None:
        def full(number: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        page = put(tmp_path, "a.json", "[]")
        assert refused(101, page) == "No space left on device. Nothing was imported."

    @pytest.mark.parametrize(
        ("error", "message"),
        [
            (KeyboardInterrupt, "Interrupted. Nothing was imported."),
        ],
    )
    @pytest.mark.usefixtures("laptops")
    def test_ctrl_c_and_output_that_cannot_be_written(
        self,
        tmp_path: Path,
        refused: Any,
        monkeypatch: pytest.MonkeyPatch,
        error: type[BaseException],
        message: str,
    ) -> None:
        def interrupted(writer: ResultSetWriter) -> None:
            raise error

        monkeypatch.setattr(ResultSetWriter, "finish", interrupted)
        assert refused(101, put(tmp_path, "a.json", "[{}]")) == message


def test_interrupted_runs_are_failed_first(laptops: Collection, tmp_path: Path) -> None:
    killed = ResultSetWriter.start(laptops).run
    Run.objects.update(lease_expires_at=timezone.now() - timedelta(seconds=1))
    import_run(101, put(tmp_path, "a.json", "[]"))
    killed.refresh_from_db()
    assert killed.state == State.FAILED


def test_progress_is_shown_on_a_terminal_only(
    laptops: Collection, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_run(101, put(tmp_path, "a.json", "[]"))
    assert capsys.readouterr().err == ""


def test_help_lists_what_can_be_imported(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        call_command("import_run", "--help")
    message = capsys.readouterr().out
    for words in ("COLLECTION FILE", "--page-size N", "JSON Lines", "ZIP", "(default: 250)"):
        assert words in message
