"""Rules for the entire project.

`python -m tests.test_project_facts` prints which components use which others.
"""

import ast
import re
import textwrap
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.tools import ROOT

APP = ROOT / "collections_app"

# Folders that only group components.
GROUPS = {"files", "records", "system"}

# The components that each component uses. A component is a module or package of the app, or the site's
# settings (dashboard). Imports go in one direction, and the app doesn't import the site.
USES: dict[str, set[str]] = {
    "system.vanished": set(),
    "system.disk": set(),
    "system.form_messages": set(),
    "system.search_normalization": set(),
    "records.formats": {"files.zip"},
    "system.addresses": set(),
    "client": set(),
    "system.data_folder": set(),
    "files": set(),
    "files.names": set(),
    "files.zip": set(),
    "system.serving": set(),
    "records": set(),
    "records.availability": set(),
    "records.currencies": set(),
    "records.money": {"records.currencies", "records.formats", "records.numeric_text"},
    "records.number_format": set(),
    "records.numeric_text": {"records.formats"},
    "records.column_roles": set(),
    "records.column_list": set(),
    "system": set(),
    "system.sqlite": set(),
    "templatetags": {"views"},
    "system.encryption": {"system.data_folder"},
    "files.storage": {"system.disk", "system.serving"},
    "system.observability": {"system.serving"},
    "system.database": {"system.sqlite"},
    "system.background": {"system.database"},
    "models": {"system.database", "system.disk", "system.encryption", "system.search_normalization"},
    "admin": {"models"},
    "events": {"models"},
    "outgoing": {"models", "records.quality", "system.addresses"},
    "notifications": {
        "events",
        "models",
        "outbox",
        "outgoing",
        "system.addresses",
        "system.database",
        "system.encryption",
    },
    "outbox": {"models", "system.database", "system.encryption"},
    "measurements": {"files.storage", "models", "system.database", "system.disk"},
    "runs": {
        "files.names",
        "files.storage",
        "files.zip",
        "models",
        "records.formats",
        "sources",
        "system.database",
        "system.disk",
        "system.search_normalization",
    },
    "sources": {
        "files.names",
        "files.storage",
        "models",
        "records.formats",
        "system.background",
        "system.database",
        "system.disk",
        "system.observability",
        "system.serving",
    },
    "people": {"models", "outbox", "system.database", "system.disk", "system.vanished"},
    "demo": {"events", "models", "runs", "system.data_folder"},
    "checks": {"files.storage", "models", "sources", "system.encryption"},
    "files.bundles": {"files.names", "files.zip", "models", "sources", "system.disk"},
    "files.delivery": {"sources", "system.database", "system.observability"},
    "files.verification": {"files.names", "models", "records.formats", "sources", "system.background"},
    "records.reading": {"models", "sources", "system.database"},
    "records.exports": {
        "files.names",
        "files.storage",
        "models",
        "records.column_list",
        "records.formats",
        "records.preview",
        "records.reading",
        "records.tracking",
        "runs",
        "sources",
        "system.background",
    },
    "records.preview": {
        "files.storage",
        "models",
        "records.availability",
        "records.formats",
        "records.currencies",
        "records.money",
        "records.number_format",
        "records.numeric_text",
        "records.reading",
        "records.column_list",
        "records.column_roles",
        "sources",
        "system.background",
        "system.database",
        "system.search_normalization",
    },
    "records.tracking": {
        "files.storage",
        "models",
        "records.availability",
        "records.column_list",
        "records.column_roles",
        "records.formats",
        "records.money",
        "records.numeric_text",
        "records.preview",
        "records.reading",
        "runs",
        "sources",
        "system.background",
        "system.database",
        "system.disk",
    },
    "records.quality": {"models", "records.money", "records.preview", "records.tracking"},
    "apps": {"checks", "system.database", "system.disk", "system.form_messages"},
    "api": {
        "events",
        "files.bundles",
        "files.delivery",
        "files.verification",
        "models",
        "people",
        "records.availability",
        "records.exports",
        "records.formats",
        "records.preview",
        "records.quality",
        "records.tracking",
        "system.background",
        "sources",
        "system.addresses",
        "system.disk",
    },
    "management": {
        "demo",
        "events",
        "files.names",
        "files.storage",
        "files.verification",
        "measurements",
        "models",
        "notifications",
        "outbox",
        "people",
        "records.exports",
        "records.quality",
        "records.preview",
        "records.tracking",
        "runs",
        "sources",
        "system.background",
        "system.database",
        "system.encryption",
        "system.observability",
        "system.vanished",
    },
    "views": {
        "client",
        "files.bundles",
        "files.delivery",
        "files.names",
        "files.storage",
        "files.verification",
        "models",
        "notifications",
        "outgoing",
        "people",
        "records.currencies",
        "records.exports",
        "records.formats",
        "records.money",
        "records.number_format",
        "records.preview",
        "records.quality",
        "records.tracking",
        "records.column_list",
        "records.column_roles",
        "runs",
        "sources",
        "system.addresses",
        "system.background",
        "system.database",
        "system.disk",
        "system.encryption",
        "system.observability",
        "system.serving",
    },
    "urls": {"api", "views"},
    "dashboard": {
        "events",
        "demo",
        "files.storage",
        "measurements",
        "models",
        "outbox",
        "outgoing",
        "people",
        "records.exports",
        "records.quality",
        "records.tracking",
        "runs",
        "system.data_folder",
        "system.database",
        "system.disk",
        "system.observability",
        "system.serving",
        "system.sqlite",
        "templatetags",
        "urls",
        "views",
    },
}

WIRE_SPELLINGS = re.compile(
    r"exacted|is_download_generated|download_links|all_pages|total_results|runner_id|schedules/collections"
)


def python_files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*.py") if "migrations" not in path.parts)


def component_of(path: Path) -> str:
    return _component(_module(path))


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _component(module: str) -> str:
    package, _, rest = module.partition(".")
    if package != APP.name:
        return package
    names = rest.split(".")
    return ".".join(names[: 2 if names[0] in GROUPS else 1])


SOURCES = {
    _module(path): path
    for folder in (APP, ROOT / "dashboard")
    for path in python_files(folder)
    if path != folder / "__init__.py"
}


def imports(path: Path) -> Iterator[str]:
    """Yield our modules that a file imports, or names in a string."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} contains a relative import"
            names = [f"{node.module}.{name.name}" for name in node.names]
        elif isinstance(node, ast.Constant) and re.fullmatch(rf"{APP.name}(\.\w+)+", str(node.value)):
            names = [str(node.value)]
        yield from filter(None, map(_ours, names))


def _ours(name: str) -> str | None:
    """Return the module that a dotted name refers to, or None."""
    while name and name not in SOURCES:
        name = name.rpartition(".")[0]
    return name or None


def _arrows() -> list[tuple[str, str]]:
    return [(component, used) for component in USES for used in USES[component]]


def picture() -> str:
    """Return the components in layers, each above those that it uses, with their names."""
    used_by: dict[str, set[str]] = {name: set() for arrow in _arrows() for name in arrow}
    for component, used in _arrows():
        used_by[used].add(component)
    order = TopologicalSorter(used_by)
    order.prepare()
    layers: list[str] = []
    while components := sorted(order.get_ready()):
        layers.append("".join(map(_line, components)))
        order.done(*components)
    return "\n".join(layers)


def _line(component: str) -> str:
    text = f"{component:22}{', '.join(sorted(USES[component]))}".rstrip()
    return textwrap.fill(text, 100, subsequent_indent=" " * 22, drop_whitespace=True) + "\n"


class TestImports:
    @pytest.mark.parametrize("component", sorted({*USES, *map(_component, SOURCES)}))
    def test_a_component_uses_exactly_the_components_in_the_table(self, component: str) -> None:
        used = {
            _component(name)
            for module, path in SOURCES.items()
            if _component(module) == component
            for name in imports(path)
        }
        assert used - {component} == USES[component], (
            f"{component} uses other components than in the picture:\n\n{picture()}"
        )

    def test_components_import_in_one_direction(self) -> None:
        TopologicalSorter(USES).prepare()  # raises CycleError

    def test_modules_import_in_one_direction(self) -> None:
        uses = {module: set(imports(path)) for module, path in SOURCES.items()}
        TopologicalSorter(uses).prepare()  # raises CycleError

    def test_the_picture_shows_every_component_above_those_it_uses(self) -> None:
        shown = re.findall(r"^\S+", picture(), re.MULTILINE)
        assert sorted(shown) == sorted(
            component for component in USES if any(component in pair for pair in _arrows())
        )
        assert all(shown.index(component) < shown.index(used) for component, used in _arrows())

    def test_delivery_uses_only_the_interface_of_sources(self) -> None:
        from_sources = {
            module
            for path in python_files(APP / "files" / "delivery")
            for module in imports(path)
            if _component(module) == "sources"
        }
        assert from_sources == {"collections_app.sources.base"}

    def test_programs_within_tests_import_modules_that_exist(self) -> None:
        # The type checker doesn't read programs in strings.
        statement = re.compile(rf"^(?:from|import) ({APP.name}\.[\w.]+)", re.MULTILINE)
        wrong = [
            f"{path.relative_to(ROOT)}: {name}"
            for folder in ("tests", "bench")
            for path in python_files(ROOT / folder)
            for name in statement.findall(path.read_text())
            if name not in SOURCES
        ]
        assert not wrong

    def test_only_the_view_for_uploads_writes_runs(self) -> None:
        from_runs = {
            module
            for path in python_files(APP / "views")
            for module in imports(path)
            if _component(module) == "runs" and path.parent.name != "upload"
        }
        assert from_runs <= {"collections_app.runs.removal", "collections_app.runs.lease"}


class TestSpelling:
    def test_only_the_api_uses_the_vendors_spellings(self) -> None:
        allowed = {APP / "sources" / "upstream" / "runs.py", APP / "client" / "pull.py"}
        wrong = [
            f"{path.relative_to(ROOT)}: {found.group()}"
            for path in python_files(APP) + python_files(ROOT / "dashboard")
            if component_of(path) != "api" and path not in allowed
            for found in WIRE_SPELLINGS.finditer(path.read_text())
        ]
        assert not wrong

    def test_no_file_contains_a_to_do(self) -> None:
        words = re.compile("TO" + "DO|FIX" + "ME")
        wrong = [
            f"{path.relative_to(ROOT)}: {found.group()}"
            for path in project_files()
            for found in words.finditer(path.read_text(errors="ignore"))
        ]
        assert not wrong


class TestPrograms:
    def test_tests_start_programs_through_one_helper(self) -> None:
        other_ways = re.compile(
            r"^\s*(?:import|from) (?:subprocess|multiprocessing|pty)\b"
            r"|\bos\.(?:exec|popen|posix_spawn|spawn|system)\w*\(|\bshutil\.which\(",
            re.MULTILINE,
        )
        wrong = [
            f"{path.relative_to(ROOT)}: {found.group().strip()}"
            for path in python_files(ROOT / "tests")
            if path != Path(tools.__file__)
            for found in other_ways.finditer(path.read_text())
        ]
        assert not wrong, "Use tests/support/tools.py, which skips a test if the program is not installed."


def project_files() -> list[Path]:
    """Return our own text files."""
    folders = (".ci", "collections_app", "dashboard", "docs", "static", "templates", "tests")
    endings = {"", ".css", ".html", ".js", ".md", ".py", ".toml", ".yaml"}
    inside = (
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if not {"__pycache__", "vendor"} & set(path.parts)
    )
    return [path for path in [*inside, *ROOT.iterdir()] if path.is_file() and path.suffix in endings]


class TestTemplates:
    @pytest.mark.parametrize(
        "path",
        # Mail has no static files, so its styles are inline.
        sorted(set((ROOT / "templates").rglob("*.html")) - set((ROOT / "templates/email").iterdir())),
        ids=lambda path: str(path.relative_to(ROOT)),
    )
    def test_nothing_inline_violates_the_csp(self, path: Path) -> None:
        text = path.read_text()
        assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:|\shx-on", text)
        for script in re.findall(r"<script[^>]*>", text):
            assert " src=" in script or 'type="application/json"' in script


class TestDocumentation:
    def test_the_documented_settings_are_those_that_the_code_reads(self) -> None:
        read = re.compile(r'\b_?env\w*(?:\.(?!setdefault)\w+)?[\(\[]\s*"([A-Z][A-Z_]+)"')
        sources = [*python_files(ROOT / "dashboard"), *python_files(APP)]
        settings = {name for path in sources for name in read.findall(path.read_text())}
        page = (ROOT / "docs" / "settings.md").read_text()
        assert sorted(re.findall(r"^\| `([A-Z_]+)` \|", page, re.MULTILINE)) == sorted(settings)
        assert {"DATA_DIR", "PORT", "PUBLIC_URL"} <= settings

    def test_every_command_is_documented(self) -> None:
        commands = {path.stem for path in (APP / "management" / "commands").glob("[a-z]*.py")}
        page = (ROOT / "docs" / "commands.md").read_text()
        assert set(re.findall(r"^\| `(\w+)", page, re.MULTILINE)) == commands

    def test_every_make_target_has_a_line_of_help(self) -> None:
        (targets,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        done = tools.run("make", "help")
        assert re.findall(r"^  make ([\w-]+) +\w", done.stdout, re.MULTILINE) == targets.split()

    def test_the_readme_is_short(self) -> None:
        assert len((ROOT / "README.md").read_text().splitlines()) <= 120

    @pytest.mark.parametrize(
        "page", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda page: page.name
    )
    def test_links_between_documentation_pages_work(self, page: Path) -> None:
        for link, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
            target = page.parent / link if link else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), f"{link}#{anchor}"

    def test_the_paths_in_the_architecture_page_exist(self) -> None:
        page = (ROOT / "docs" / "architecture.md").read_text()
        paths = set(re.findall(r"`((?:[\w-]+/)+[\w-]+\.\w+)`", page))
        folders = (ROOT, APP, APP / "sources", ROOT / "static" / "js")
        assert len(paths) > 15
        assert not [path for path in paths if not any((folder / path).exists() for folder in folders)]

    def test_the_changelog_starts_with_unreleased_changes_and_this_version(self) -> None:
        headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
        assert headings[0] == "Unreleased"
        assert headings[1] == project()["project"]["version"]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


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
    def test_direct_dependencies_are_locked(self, name: str) -> None:
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


if __name__ == "__main__":
    print(picture())


def test_templates_show_times_only_with_the_shared_parts() -> None:
    """Attributes can't contain the parts."""
    parts = {"_date.html", "_relative_time.html", "_time.html"}
    shown = re.compile(r"<time\b|\|(?:date|time|timesince|timeuntil|naturaltime|naturalday)\b")
    tags = re.compile(r"<(?!time\b)[^>]*>")
    found = {
        path.name
        for path in (ROOT / "templates").rglob("*.html")
        if path.name not in parts and shown.search(tags.sub("", path.read_text()))
    }
    assert found == set()
