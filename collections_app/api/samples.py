"""Samples of requests: curl commands and Python programs."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

_KEY = "YOUR_API_KEY"

_CURL_POST = """\
curl {address} \\
  -X POST \\
  -H "x-api-key: {key}" \\
  -H "Content-Type: application/json" \\
  -d '{body}'"""

_PYTHON_POST = """\
import requests

response = requests.post(
    "{address}",
    headers={{"x-api-key": "{key}"}},
    json={body},
    timeout=60,
)
print(response.json())"""

_PYTHON_GET = """\
import requests

response = requests.get(
    "{address}",
    headers={{"x-api-key": "{key}"}},
    timeout=60,
)
response.raise_for_status()
print(response.json())"""

_PYTHON_FILE = """\
import requests

with requests.get(
    "{address}",
    headers={{"x-api-key": "{key}"}},
    stream=True,
    timeout=60,
) as response:
    response.raise_for_status()
    with open("{name}", "wb") as file:
        for chunk in response.iter_content(1024 * 1024):
            file.write(chunk)"""


@dataclass(frozen=True)
class Call:
    """A request with the examples of its parameters."""

    method: str
    site: str
    path: str
    parameters: list[dict[str, Any]]
    body: dict[str, Any] | None
    is_file: bool

    def as_curl(self) -> str:
        """Return a curl command. Without a body, it also runs in cmd.exe and PowerShell."""
        if self.body is not None:
            return _CURL_POST.format(address=self._address(), key=_KEY, body=json.dumps(self.body))
        saved = f' -o "{self._file_name()}"' if self.is_file else ""
        return f'curl "{self._address()}" -H "x-api-key: {_KEY}"{saved}'

    def as_python(self) -> str:
        """Return a Python program, which needs `requests`."""
        template = _PYTHON_FILE if self.is_file else _PYTHON_GET
        if self.body is not None:
            template = _PYTHON_POST
        return template.format(address=self._address(), key=_KEY, body=self.body, name=self._file_name())

    def _address(self) -> str:
        examples = {each["name"]: quote(str(each["example"])) for each in self._in("path")}
        sent = [(each["name"], each["example"]) for each in self._in("query") if each.get("x-in-samples")]
        query = f"?{urlencode(sent, safe=',')}" if sent else ""
        return self.site + self.path.format_map(examples) + query

    def _file_name(self) -> str:
        examples = {each["name"]: each["example"] for each in self._in("path")}
        return self.path.rpartition("/")[2].format_map(examples)

    def _in(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in self.parameters if each["in"] == kind]
