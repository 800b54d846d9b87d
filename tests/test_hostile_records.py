"""The cost of a megabyte of hostile records is limited."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import databases
from tests.support.hostile import CASES, SIZE, WHERE
from tests.support.server import manage
from tests.support.tools import all_or_few, is_thorough

LARGEST_ANSWER = 4 * SIZE
LONGEST_ANSWER = 8  # seconds of CPU time, on a CPU that may be slow
USUAL = ["a different key in each record", "no complete record"]
MOST_MEMORY = 500 * 1024**2  # DuckDB may use 256 MB of it


@pytest.fixture(scope="module")
def costs(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The costs that a separate process has measured, by case."""
    data_dir = databases.copy(demo_data, tmp_path_factory.mktemp("hostile") / "data")
    cases = CASES if is_thorough() else USUAL
    command = f"from tests.support.hostile import main; main(*{[*cases]})"
    printed = manage(data_dir, "shell", "--no-imports", "--command", command)
    lines = (json.loads(line) for line in printed.splitlines() if line.startswith("["))
    return {case: (memory, responses) for case, memory, responses in lines}


@pytest.mark.no_cover
@pytest.mark.parametrize("case", all_or_few(CASES, *USUAL))
def test_time_memory_and_output_are_limited(costs: dict[str, Any], case: str) -> None:
    memory, responses = costs[case]
    assert memory < MOST_MEMORY
    assert [where for where, *_ in responses] == list(WHERE)
    for where, status, size, seconds in responses:
        assert status in {200, 302, 404}, where
        assert size < LARGEST_ANSWER, where
        assert seconds < LONGEST_ANSWER, where
