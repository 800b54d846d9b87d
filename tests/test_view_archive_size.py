"""The size of an account's ZIP on its button, which is loaded after the page, and once."""

import pytest
from django.test import Client

from collections_app.models import Collection, ResultFile, Team
from collections_app.sources import ResultNotFound, SourceTimeout, SourceUnavailable, account
from tests.support.html import text_of
from tests.support.results import make_processing_run, make_ready_run
from tests.support.upstream import make_account, make_remote_collection, make_remote_run


class Asked:
    """A fake account that records which sizes are requested."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.problem: Exception | None = None

    def __call__(self, file: ResultFile) -> int:
        self.names.append(file.name)
        assert file.run.collection.account
        if self.problem:
            raise self.problem
        return 2_516_582


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked()
    monkeypatch.setattr(account, "size_of", asked)
    return asked


@pytest.fixture
def collection(crawlers: Team) -> Collection:
    return make_remote_collection(make_account(crawlers))


def address(collection: Collection, number: int = 88) -> str:
    return f"/collections/{collection.pk}/runs/{number}/archive-size"


def test_it_returns_the_buttons_text_with_one_call(
    as_bob: Client, collection: Collection, asked: Asked
) -> None:
    run = make_remote_run(collection)
    for _ in range(2):
        response = as_bob.get(address(collection))
        assert (response.status_code, text_of(response.content.decode())) == (200, "ZIP · 2.4 MB")
    assert asked.names == ["AU Laptops_88_Results_All_Pages.zip"]
    assert run.files.get(kind="archive").size == 2_516_582


def test_the_page_then_has_the_size(as_bob: Client, collection: Collection, asked: Asked) -> None:
    run = make_remote_run(collection)
    as_bob.get(address(collection))
    assert run.files.get(kind="archive").size == 2_516_582
    assert run.files.get(kind="page").size is None


@pytest.mark.parametrize(
    "problem",
    [ResultNotFound("gone"), SourceUnavailable("down"), SourceTimeout("slow")],
    ids=lambda problem: type(problem).__name__,
)
def test_the_button_stays_the_same_if_the_account_fails(
    as_bob: Client, collection: Collection, asked: Asked, problem: Exception
) -> None:
    asked.problem = problem
    make_remote_run(collection)
    response = as_bob.get(address(collection))
    assert (response.status_code, response.content) == (204, b"")
    assert collection.runs.get().files.get(kind="archive").size is None


def test_a_run_without_a_zip_has_no_size(as_bob: Client, collection: Collection, asked: Asked) -> None:
    make_remote_run(collection, ready=False)
    for number in (88, 89, 10**30):
        assert as_bob.get(address(collection, number)).status_code == 404
    assert asked.names == []


def test_our_own_zip_has_its_size(as_bob: Client, laptops: Collection, asked: Asked) -> None:
    size = make_ready_run(laptops).files.get(kind="archive").size
    response = as_bob.get(address(laptops, 1))
    assert text_of(response.content.decode()) == f"ZIP · {size} bytes"
    make_processing_run(laptops)
    assert as_bob.get(address(laptops, 2)).status_code == 404
    assert asked.names == []


def test_a_strangers_request_makes_no_call(as_carol: Client, collection: Collection, asked: Asked) -> None:
    make_remote_run(collection)
    assert as_carol.get(address(collection)).status_code == 403
    assert asked.names == []
