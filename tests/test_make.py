"""`make` finds Python and sets up .venv. Scripts replace the Pythons."""

import os
import shutil
from pathlib import Path

import pytest

from tests.support import tools
from tests.support.tools import ROOT

OLD = "#!/bin/bash\nexit 1\n"
SHIM = "#!/bin/bash\necho 'pyenv: command not found' >&2\nexit 127\n"
# Says that it is new enough, makes a .venv that holds itself, and writes down what it was told.
NEW = """#!/bin/bash
echo "$@" >> "$LOG"
case "$*" in
  --version) echo "Python 3.99" ;;
  "-m venv --clear .venv") mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
  "manage.py collectstatic"*) mkdir -p staticfiles ;;
  "-m pip"*) [ ! -e "$BROKEN" ] || { echo "ERROR: no network" >&2; exit 1; } ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout in a folder with a space in its name, and a PATH with only what `make` calls."""
    folder = tmp_path / "my checkout"
    (folder / "static").mkdir(parents=True)
    (folder / "bin").mkdir()
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "requirements.txt").touch()
    for tool in ("cp", "find", "mkdir", "touch"):
        (folder / "bin" / tool).symlink_to(tools.needs(tool))
    (folder / "manage.py").touch()
    return folder


def python(checkout: Path, name: str, text: str) -> None:
    path = checkout / "bin" / name
    path.write_text(text)
    path.chmod(0o755)


def make(checkout: Path, target: str = "run") -> tuple[int, str, list[str]]:
    """Return the exit code, the output, and the new arguments of the Pythons."""
    log = checkout / "log"
    log.write_text("")
    done = tools.run(
        *("make", target),
        cwd=checkout,
        env={"PATH": str(checkout / "bin"), "LOG": str(log), "BROKEN": str(checkout / "broken")},
        stdout=tools.PIPE,
        stderr=tools.STDOUT,
        check=False,
    )
    return done.returncode, done.stdout, log.read_text().splitlines()


def test_a_missing_or_old_python_is_reported(checkout: Path) -> None:
    python(checkout, "python3", OLD)
    code, printed, _ = make(checkout)
    assert code != 0
    sentence, makes_own = printed.splitlines()
    assert sentence == (
        "Error: Python 3.11 or newer with venv was not found. Install it (Debian: python3-venv)."
    )
    assert makes_own.startswith("make: ***")
    assert not (checkout / ".venv").exists()


def test_it_skips_an_old_python_and_a_broken_shim(checkout: Path) -> None:
    python(checkout, "python3", OLD)
    python(checkout, "python3.13", SHIM)
    python(checkout, "python3.11", NEW)
    code, printed, told = make(checkout)
    assert code == 0
    assert printed.splitlines() == [
        "Setting up .venv with Python 3.99",
        "Installing the packages (70 MB)",
        "Preparing the static files",
    ]
    assert [line.partition(" --")[0] for line in told[1:]] == [
        "--version",
        "-m venv",
        "-m pip",
        "manage.py collectstatic",
        "manage.py serve",
    ]


def test_the_second_time_it_only_serves(checkout: Path) -> None:
    python(checkout, "python3", NEW)
    make(checkout)
    assert make(checkout) == (0, "", ["manage.py serve --demo"])


def test_new_requirements_are_installed_into_the_existing_venv(checkout: Path) -> None:
    python(checkout, "python3", NEW)
    make(checkout)
    later = (checkout / ".venv" / ".installed").stat().st_mtime + 5
    os.utime(checkout / "requirements.txt", (later, later))
    _, _, told = make(checkout)
    assert any("pip" in line for line in told)
    assert not any("venv --clear" in line for line in told)


def test_an_interrupted_setup_is_repeated(checkout: Path) -> None:
    python(checkout, "python3", NEW)
    (checkout / "broken").touch()
    code, printed, told = make(checkout)
    assert code != 0
    assert "ERROR: no network" in printed
    assert not any("serve" in line for line in told)
    (checkout / "broken").unlink()
    code, _, told = make(checkout)
    assert code == 0
    assert "-m venv --clear .venv" in told
    assert told[-1] == "manage.py serve --demo"


def test_static_files_are_collected_again_when_one_changes(checkout: Path) -> None:
    python(checkout, "python3", NEW)
    make(checkout)
    later = (checkout / "staticfiles" / ".collected").stat().st_mtime + 5
    (checkout / "static" / "site.css").touch()
    os.utime(checkout / "static" / "site.css", (later, later))
    _, _, told = make(checkout)
    assert told == [
        "manage.py collectstatic --noinput --clear --verbosity 0",
        "manage.py serve --demo",
    ]
