"""Read compose.yaml."""

import re
from typing import Any

import yaml

from tests.support.tools import ROOT

# ${NAME} or ${NAME:-default}
VARIABLE = re.compile(r"\$\{([A-Z_]+)(?::-([^}]*))?\}")


def read() -> dict[str, Any]:
    """Return the content of compose.yaml, without replacing its variables."""
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    return found


def environment(service: str) -> dict[str, str]:
    """Return the environment of a service, with the defaults of all variables and without the secrets."""
    written = read()["services"][service].get("environment", {})
    return {name: VARIABLE.sub(lambda found: found[2] or "", value) for name, value in written.items()}


def command(service: str) -> list[str]:
    """Return the command of a service."""
    words: list[str] = read()["services"][service]["command"]
    return words
