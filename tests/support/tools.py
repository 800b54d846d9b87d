"""Start programs for tests, and describe where the tests run."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PIPE, DEVNULL, STDOUT = subprocess.PIPE, subprocess.DEVNULL, subprocess.STDOUT
TimeoutExpired = subprocess.TimeoutExpired

Process = subprocess.Popen[Any]
Done = subprocess.CompletedProcess[str]
Word = str | Path

# How many seconds tests wait for something to happen. On a busy machine, starting a server takes a minute.
PATIENCE = 300
# The conditions of this run of the tests that the current test has used; see passed.py.
conditions_used: set[str] = set()
# Debian's folder for servers, which isn't on every user's PATH.
_SERVERS = "/usr/sbin"


def is_thorough() -> bool:
    """Whether these tests try everything (`make test-all`), or only a few examples of it (`make test`)."""
    conditions_used.add("examples")
    return bool(os.environ.get("TEST_THOROUGHLY"))


def examples(count: int) -> int:
    """Return how many examples hypothesis tries."""
    return count if is_thorough() else max(count // 10, 3)


def all_or_few(values: Iterable[Any], *few: Any) -> list[Any]:
    """Return the values that a parametrized test tries: all of them, or the few that `make test` tries."""
    values = list(values)
    assert all(value in values for value in few)
    return values if is_thorough() else [*few]


def all_or_some(values: Iterable[Any], count: int) -> list[Any]:
    """Return the values that a parametrized test tries: all of them, or `count` of them in `make test`.

    The others are marked `thorough`. A tuple contains the values of several parameters.
    """
    values = list(values)
    some = {at * len(values) // count for at in range(count)}
    return [value if at in some else _thorough(value) for at, value in enumerate(values)]


def _thorough(value: Any) -> Any:
    parameters = value if isinstance(value, tuple) else (value,)
    return pytest.param(*parameters, marks=pytest.mark.thorough)


def cpu_seconds(work: Callable[[], object]) -> float:
    """Return the CPU time of some work, which depends little on the machine's load."""
    began = time.process_time()
    work()
    return time.process_time() - began


def needs(*programs: object) -> str:
    """Return the path of the first program that is installed; skip the test if none is.

    conftest.py turns the skip into a failure in CI.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), _SERVERS])
    for program in programs:
        if found := shutil.which(str(program), path=path):
            return found
    pytest.skip(f"{programs[0]} is not installed")


def start(program: object, *arguments: object, **options: Any) -> Process:
    """Start a program in the project's folder; skip the test if it is not installed."""
    return subprocess.Popen([needs(program), *map(str, arguments)], **{"cwd": ROOT} | options)


@contextmanager
def running(program: object, *arguments: object, log: Path, **options: Any) -> Iterator[Process]:
    """Run a program that writes to a log; press Ctrl-C at the end of the block."""
    with log.open("ab") as out, start(program, *arguments, stdout=out, stderr=STDOUT, **options) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            _wait_for(process)


def _wait_for(process: Process) -> None:
    try:
        process.wait(timeout=PATIENCE)
    except TimeoutExpired:
        process.kill()
        raise


def run(program: object, *arguments: object, check: bool = True, **options: Any) -> Done:
    """Run a program to its end; fail the test if the program fails, unless `check` is false."""
    output = {} if "stdout" in options else {"capture_output": True}
    defaults: dict[str, Any] = {"cwd": ROOT, "text": True, "timeout": PATIENCE} | output
    done: Done = subprocess.run([needs(program), *map(str, arguments)], check=False, **defaults | options)
    if check:
        output_of(done)
    return done


def output_of(done: Done) -> str:
    """Return what a program printed; fail the test if the program failed."""
    assert done.returncode == 0, f"{done.args} failed:\n{done.stdout}{done.stderr}"
    return done.stdout


def eventually(true: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Return whether something becomes true in time."""
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += [int(child) for child in task.read_text().split()]
    return found
