"""The commands that download a run's files from a script."""

import re
import shlex
from html import unescape
from urllib.parse import urlsplit

import pytest
from django.test import Client

from collections_app.models import Collection, Run
from tests.support import responses
from tests.support.html import links, text_of
from tests.support.results import make_failed_run, make_ready_run, records

ADDRESS = "/collections/101/runs/1/commands"
PAGE = "AU Laptops_1_Results_Page_1.json"


@pytest.fixture
def run(laptops: Collection) -> Run:
    return make_ready_run(laptops, records(3), page_size=2)


def commands(client: Client, address: str = ADDRESS, **asked: str) -> list[str]:
    """Return the commands on the page: for curl, and for PowerShell."""
    page = client.get(address, asked).content.decode()
    return [unescape(code) for code in re.findall(r"<code>(.*?)</code>", page, re.DOTALL)]


def test_the_menu_of_a_run_leads_to_its_commands(as_bob: Client, run: Run) -> None:
    assert links(as_bob.get("/collections/101/download"))["Copy as curl (run 1)"] == ADDRESS


def test_a_file_has_a_command_for_curl_and_one_for_powershell(as_bob: Client, run: Run) -> None:
    url = "http://testserver/api/v1/results/101/1/AU%20Laptops_1_Results_Page_1.json"
    assert commands(as_bob, file=PAGE) == [
        f'curl -f -o "{PAGE}" -H "x-api-key: YOUR_API_KEY" "{url}"',
        f'Invoke-WebRequest "{url}" -Headers @{{"x-api-key"="YOUR_API_KEY"}} -OutFile "{PAGE}"',
    ]


def test_every_file_of_a_run_can_be_chosen_and_downloaded(
    as_bob: Client, client: Client, bobs_key: str, run: Run
) -> None:
    page = as_bob.get(ADDRESS).content.decode()
    files = [unescape(value) for value in re.findall(r'<option value="([^"]*)"', page)]
    assert files == [
        *(f"records.{each}" for each in ("xlsx", "csv", "json", "jsonl", "parquet")),
        "all.zip",
        PAGE,
        "AU Laptops_1_Results_Page_2.json",
    ]
    for file in files:
        url = shlex.split(commands(as_bob, file=file)[0])[-1]
        response = client.get(urlsplit(url).path, headers={"x-api-key": bobs_key})
        assert response.status_code == 200, file
        assert responses.content(response), file


def test_the_format_of_the_last_download_is_chosen(as_bob: Client, run: Run) -> None:
    assert responses.content(as_bob.get("/collections/101/runs/1/records.parquet"))
    assert commands(as_bob)[0].endswith('/runs/1/records.parquet"')


def test_a_category_file_is_saved_with_the_number_of_its_run(as_bob: Client, headphones: Collection) -> None:
    make_ready_run(headphones, records(3))
    curl, _ = commands(as_bob, f"/collections/{headphones.pk}/runs/1/commands", file="category_asins.csv")
    assert '-o "run_1_category_asins.csv"' in curl


def test_a_name_is_harmless_in_a_shell(as_bob: Client, run: Run) -> None:
    hostile = "$(x)`y`!'%a%\"€\\.json"
    run.files.filter(name=PAGE).update(name=hostile)
    curl, powershell = commands(as_bob, file=hostile)
    url = "http://testserver/api/v1/results/101/1/%24%28x%29%60y%60%21%27%25a%25%22%E2%82%AC%5C.json"
    assert curl == f'curl -f -o "run_1__(x)_y__\'_a__€_.json" -H "x-api-key: YOUR_API_KEY" "{url}"'
    assert shlex.split(curl)[-1] == url
    assert "$" not in powershell
    assert "`" not in powershell


def test_htmx_gets_the_content_of_the_dialog(as_bob: Client, run: Run) -> None:
    content = as_bob.get(ADDRESS, headers={"HX-Request": "true"}).content.decode()
    assert "<html" not in content
    assert '<form method="dialog">' in content
    assert 'hx-target="#command-text"' in content


def test_an_unknown_file_is_refused(as_bob: Client, run: Run) -> None:
    response = as_bob.get(ADDRESS, {"file": "x"})
    assert response.status_code == 400
    assert "This run has no such file." in response.content.decode()


def test_a_run_without_files_says_so(as_bob: Client, laptops: Collection) -> None:
    make_failed_run(laptops)
    response = as_bob.get(ADDRESS)
    assert "Run 1 has no files." in text_of(response.content.decode())
    assert as_bob.get("/collections/101/runs/2/commands").status_code == 404
