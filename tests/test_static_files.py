"""What is served of the folder that collectstatic fills."""

from pathlib import Path

import pytest
from django.test import Client
from pytest_django import Settings


@pytest.fixture(autouse=True)
def collected(settings: Settings, tmp_path: Path) -> None:
    settings.STATIC_ROOT = tmp_path
    (tmp_path / "staticfiles.json").write_text('{"paths": {}}')
    (tmp_path / "sheet.0123456789ab.css").write_text("p {}")


def test_a_static_file_is_served(client: Client) -> None:
    assert client.get("/static/sheet.0123456789ab.css").getvalue() == b"p {}"


@pytest.mark.django_db
def test_nobody_reads_the_list_of_static_files(client: Client) -> None:
    assert client.get("/static/staticfiles.json").status_code == 404
