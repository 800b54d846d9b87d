"""The query that finds the caller and what an address names (models/lookup.py)."""

from collections.abc import Callable

import pytest
from django.db import models
from pytest_django import DjangoAssertNumQueries

from collections_app.models import (
    ApiKey,
    Collection,
    FileKind,
    Membership,
    NotDownloadable,
    ResultFile,
    Role,
    Run,
    State,
    Team,
    User,
)
from collections_app.models.lookup import Address, Requested, memberships_of, recognize
from tests.support.results import make_failed_run, make_processing_run, make_ready_run, records
from tests.support.upstream import make_account, make_remote_collection, make_remote_run

pytestmark = pytest.mark.django_db

Find = Callable[[Address], Requested]


@pytest.fixture(params=["by key", "by user"])
def find(request: pytest.FixtureRequest, bob: User, bobs_key: str) -> Find:
    """Find what an address names, as Bob or with his key."""

    def by_key(address: Address) -> Requested:
        found = recognize(bobs_key, address)
        assert found
        return found[1]

    def by_user(address: Address) -> Requested:
        return memberships_of(bob, address)[1]

    return by_key if request.param == "by key" else by_user


def address_of(file: ResultFile) -> Address:
    return Address(file.run.collection_id, file.run.number, file.name)


def values_of(row: models.Model) -> dict[str, object]:
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}


class TestRows:
    @pytest.mark.parametrize("where", ["here", "at an account"])
    def test_they_equal_those_of_separate_queries(
        self, find: Find, crawlers: Team, laptops: Collection, where: str
    ) -> None:
        if where == "here":
            collection, run = laptops, make_ready_run(laptops)
        else:
            collection = make_remote_collection(make_account(crawlers))
            run = make_remote_run(collection)
        file = run.files.filter(kind=FileKind.PAGE)[0]
        found = find(address_of(file))
        expected = (Collection.objects.get(pk=collection.pk), Run.objects.get(pk=run.pk), file)
        assert found == expected
        for row, other in zip(found, expected, strict=True):
            assert row
            assert values_of(row) == values_of(other)
            assert (row._state.adding, row._state.db) == (other._state.adding, other._state.db)

    def test_a_download_reads_only_what_it_needs(self, find: Find, laptops: Collection) -> None:
        found = find(address_of(make_ready_run(laptops).files.get(kind=FileKind.PAGE)))
        for row, unneeded in zip(found, ("unlisted", "longest_step", "crc32"), strict=True):
            assert row
            assert unneeded in row.get_deferred_fields()

    def test_a_page_gets_the_entire_collection(self, find: Find, laptops: Collection) -> None:
        collection, *_ = find(Address(laptops.pk))
        assert collection
        assert not collection.get_deferred_fields()

    def test_they_are_connected(
        self, find: Find, laptops: Collection, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        run = make_ready_run(laptops)
        address = address_of(run.files.get(kind=FileKind.PAGE))
        with django_assert_num_queries(1):
            collection, _, file = find(address)
            assert collection
            assert file
            assert (file.run.collection, collection.team.name) == (collection, "Crawlers")

    def test_other_fields_of_the_key_are_read_later(self, bob: User, bobs_key: str) -> None:
        found = recognize(bobs_key)
        assert found
        assert values_of(found[0]) == values_of(ApiKey.objects.get())
        assert values_of(found[0].membership) == values_of(bob.memberships.get())

    def test_every_membership_is_returned_by_team_name(
        self, bob: User, crawlers: Team, laptops: Collection
    ) -> None:
        first, last = (Team.objects.create(name=name) for name in ("Buyers", "Drivers"))
        for team in (last, first):
            Membership.objects.create(user=bob, team=team, role=Role.ADMIN)
        memberships, requested = memberships_of(bob, Address(laptops.pk))
        assert [each.team for each in memberships] == [first, crawlers, last]
        assert memberships == list(bob.memberships.order_by("team__name"))
        assert requested == (laptops, None, None)

    def test_a_user_without_a_team_finds_nothing(self, eve: User, laptops: Collection) -> None:
        assert memberships_of(eve, Address(laptops.pk)) == ([], Requested())


class TestAddresses:
    def test_of_another_team_find_nothing(self, find: Find, secret_plans: Collection) -> None:
        run = make_ready_run(secret_plans)
        assert find(address_of(run.files.get(kind=FileKind.PAGE))) == Requested()

    @pytest.mark.parametrize("number", [-1, 0, 999, 2**63 - 1, 2**63, 10**30])
    def test_any_number_is_safe(self, find: Find, laptops: Collection, number: int) -> None:
        assert find(Address(number, number, "x")) == Requested()
        assert find(Address(laptops.pk, number, "x")) == Requested(laptops)


class TestWhatMayBeDownloaded:
    @pytest.mark.parametrize("name", ["nothing.json", "", "..", "../secret_key", "a\0b", "x" * 10_000])
    def test_other_names_are_not_found(self, find: Find, laptops: Collection, name: str) -> None:
        run = make_ready_run(laptops)
        with pytest.raises(NotDownloadable, match="Run 1 has no file with that name"):
            find(Address(laptops.pk, run.number, name)).downloadable(run.number)

    def test_a_run_of_another_collection_is_not_found(
        self, find: Find, laptops: Collection, headphones: Collection
    ) -> None:
        name = make_ready_run(headphones).files.all()[0].name
        with pytest.raises(NotDownloadable, match="This collection has no run 1"):
            find(Address(laptops.pk, 1, name)).downloadable(1)

    def test_a_processing_run_is_not_downloadable_yet(self, find: Find, laptops: Collection) -> None:
        run = make_processing_run(laptops, records(1))
        with pytest.raises(NotDownloadable, match="Run 1 is still processing"):
            find(address_of(run.files.get())).downloadable(1)

    def test_a_failed_run_is_not_downloadable(self, find: Find, laptops: Collection) -> None:
        make_failed_run(laptops)
        assert laptops.runs.get().state == State.FAILED
        with pytest.raises(NotDownloadable, match="Run 1 failed, so it has no files"):
            find(Address(laptops.pk, 1, "page.json")).downloadable(1)

    def test_a_deleted_run_is_gone_at_once(self, find: Find, laptops: Collection) -> None:
        run = make_ready_run(laptops)
        address = address_of(run.files.get(kind=FileKind.PAGE))
        assert find(address).downloadable(1)
        run.delete()
        with pytest.raises(NotDownloadable, match="This collection has no run 1"):
            find(address).downloadable(1)
