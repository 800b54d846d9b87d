"""compose.yaml, as the tests read it."""

import re
from typing import Any

import yaml

from tests.support.tools import ROOT

# ${NAME} or ${NAME:-what it is otherwise}
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}")


def read() -> dict[str, Any]:
    """Return what compose.yaml says, with its variables as they stand there."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


def environment(service: str) -> dict[str, str]:
    """Return what a service finds in its environment where nothing is set outside; the secrets left out."""
    written = read()["services"][service].get("environment", {})
    return {name: VARIABLE.sub(lambda found: found[2] or "", value) for name, value in written.items()}


def command(service: str) -> list[str]:
    """Return the command of a service."""
    words: list[str] = read()["services"][service]["command"]
    return words
