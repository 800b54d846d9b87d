"""What is true of the project as a whole."""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import ROOT

APP = ROOT / "collections_app"

# What each room of the app may import from. Data flows one way, and there is no circle.
MAY_IMPORT = {
    "models": set(),
    "access": {"models"},
    "addresses": set(),
    "accounts": {"addresses", "models"},
    "formats": {"models"},
    "sources": {"formats", "models"},
    "delivery": {"sources"},
    "result_sets": {"formats", "models"},
    "api": {"access", "addresses", "delivery", "formats", "models", "sources"},
    "views": {"access", "accounts", "addresses", "delivery", "formats", "models", "result_sets", "sources"},
    "urls": {"access", "api", "views"},
    "admin": {"models"},
    "apps": set(),
    "demo": {"models", "result_sets"},
    "management": {"demo", "formats", "models", "result_sets"},
}

WIRE_SPELLINGS = re.compile(
    r"exacted|is_download_generated|download_links|all_pages|total_results|runner_id|schedules/collections"
)


def python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "migrations" not in path.parts)


def room_of(path: Path) -> str:
    return path.relative_to(APP).parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """Yield the dotted names of the app's modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.startswith("collections_app."))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            if node.module == "collections_app":
                yield from (f"collections_app.{name.name}" for name in node.names)
            elif node.module and node.module.startswith("collections_app."):
                yield node.module


class TestImports:
    def test_every_room_is_known(self) -> None:
        assert {room_of(path) for path in python_files(APP)} - {"__init__"} == set(MAY_IMPORT)

    @pytest.mark.parametrize("room", MAY_IMPORT)
    def test_a_room_imports_only_from_below(self, room: str) -> None:
        wrong = [
            f"{path.relative_to(ROOT)} imports {module}"
            for path in python_files(APP)
            if room_of(path) == room
            for module in imports(path)
            if module.split(".")[1] not in MAY_IMPORT[room] | {room}
        ]
        assert not wrong

    def test_there_is_no_circle(self) -> None:
        below: list[str] = []
        while rooms := [room for room in MAY_IMPORT if room not in below and MAY_IMPORT[room] <= set(below)]:
            below += rooms
        assert set(below) == set(MAY_IMPORT)

    def test_delivery_knows_only_the_seam(self) -> None:
        from_sources = {
            module
            for path in python_files(APP / "delivery")
            for module in imports(path)
            if module.split(".")[1] == "sources"
        }
        assert from_sources == {"collections_app.sources.base"}

    def test_views_write_no_results(self) -> None:
        from_result_sets = {
            module
            for path in python_files(APP / "views")
            for module in imports(path)
            if module.split(".")[1] == "result_sets"
        }
        assert from_result_sets <= {
            "collections_app.result_sets.removal",
            "collections_app.result_sets.lease",
        }


class TestSpelling:
    def test_the_vendors_spellings_stay_in_the_api(self) -> None:
        allowed = {APP / "sources" / "upstream.py"}
        wrong = [
            f"{path.relative_to(ROOT)}: {found.group()}"
            for path in python_files(APP) + python_files(ROOT / "dashboard")
            if room_of_or_none(path) != "api" and path not in allowed
            for found in WIRE_SPELLINGS.finditer(path.read_text())
        ]
        assert not wrong

    def test_nothing_is_left_to_do(self) -> None:
        words = re.compile("TO" + "DO|FIX" + "ME")
        wrong = [
            f"{path.relative_to(ROOT)}: {found.group()}"
            for path in project_files()
            for found in words.finditer(path.read_text(errors="ignore"))
        ]
        assert not wrong


def room_of_or_none(path: Path) -> str | None:
    return room_of(path) if path.is_relative_to(APP) else None


def project_files() -> list[Path]:
    """The text files that we wrote."""
    folders = (".ci", "collections_app", "dashboard", "docs", "static", "templates", "tests")
    endings = {"", ".css", ".html", ".js", ".md", ".py", ".toml", ".yaml"}
    inside = (
        path for folder in folders for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts
    )
    return [path for path in [*inside, *ROOT.iterdir()] if path.is_file() and path.suffix in endings]


class TestTemplates:
    @pytest.mark.parametrize(
        "path", sorted((ROOT / "templates").rglob("*.html")), ids=lambda path: str(path.relative_to(ROOT))
    )
    def test_nothing_is_inline_that_the_csp_forbids(self, path: Path) -> None:
        text = path.read_text()
        assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:|\shx-on", text)
        for script in re.findall(r"<script[^>]*>", text):
            assert " src=" in script or 'type="application/json"' in script


class TestDocumentation:
    def test_every_knob_is_in_the_readme_and_no_other(self) -> None:
        read = re.compile(r'\benv(?:iron)?(?:\.(?!setdefault)\w+)?[\(\[]\s*"([A-Z][A-Z_]+)"')
        sources = [*python_files(ROOT / "dashboard"), *python_files(APP)]
        knobs = {name for path in sources for name in read.findall(path.read_text())}
        documented = re.findall(r"^\| `([A-Z_]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
        assert sorted(documented) == sorted(knobs)
        assert {"DATA_DIR", "PORT", "PUBLIC_URL"} <= knobs

    def test_every_command_is_in_the_readme(self) -> None:
        commands = {path.stem for path in (APP / "management" / "commands").glob("[a-z]*.py")}
        readme = (ROOT / "README.md").read_text()
        assert [command for command in sorted(commands) if command not in readme] == []

    def test_every_make_target_has_a_line_of_help(self) -> None:
        (targets,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert re.findall(r"^  make (\w+) +\w", done.stdout, re.MULTILINE) == targets.split()

    @pytest.mark.parametrize("name", ["README.md", "docs/architecture.md", "CHANGELOG.md"])
    def test_links_between_our_files_lead_somewhere(self, name: str) -> None:
        page = ROOT / name
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), link

    def test_the_changelog_has_a_place_for_what_comes(self) -> None:
        headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
        assert headings[0] == "Unreleased"
        assert headings[1] == project()["project"]["version"]


def project() -> dict[str, dict[str, object]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


class TestLocks:
    @pytest.mark.parametrize("name", ["requirements.txt", "tests/requirements.txt"])
    def test_every_package_is_pinned_with_its_hashes(self, name: str) -> None:
        text = (ROOT / name).read_text().replace("\\\n", " ")
        for line in text.splitlines():
            assert re.match(
                r"^[a-z0-9.-]+(\[[a-z0-9,-]+\])?==\S+( ; .*?)?\s+--hash=sha256:[0-9a-f]{64}", line
            ), line

    @pytest.mark.parametrize("name", ["requirements.txt", "tests/requirements.txt"])
    def test_what_we_chose_is_locked(self, name: str) -> None:
        table = tomllib.loads((ROOT / "pyproject.toml").read_text())
        chosen = table["project"]["dependencies"] if "/" not in name else table["dependency-groups"]["dev"]
        names = {re.split(r"[\[<>=~;]", line)[0] for line in chosen}
        locked = set(re.findall(r"^([a-z0-9.-]+)", (ROOT / name).read_text(), re.MULTILINE))
        assert names <= locked

    def test_both_locks_agree(self) -> None:
        one, other = (
            dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / name).read_text(), re.MULTILINE))
            for name in ("requirements.txt", "tests/requirements.txt")
        )
        assert {name: one[name] for name in one.keys() & other.keys()} == {
            name: other[name] for name in one.keys() & other.keys()
        }
