from datetime import UTC, datetime
from importlib import import_module

import pytest
from django.apps import apps
from django.db import IntegrityError

from collections_app.models import Collection, Kind, Run, State, Team
from collections_app.models.expectations import restore


def named(team: Team, *names: str) -> list[Collection]:
    return [Collection.objects.create(team=team, name=name) for name in names]


class TestConstraints:
    @pytest.mark.parametrize("fields", [{"name": ""}, {"kind": "ebay"}, {"last_run_number": -1}])
    def test_the_database_refuses(self, crawlers: Team, fields: dict[str, object]) -> None:
        with pytest.raises(IntegrityError):
            Collection.objects.create(**{"team": crawlers, "name": "A"} | fields)

    def test_names_do_not_have_to_be_unique(self, crawlers: Team) -> None:
        named(crawlers, "Laptops", "Laptops")
        assert crawlers.collections.count() == 2


class TestOrder:
    def test_the_order_is_alphabetical_in_any_case(self, crawlers: Team) -> None:
        named(crawlers, "beta", "Alpha", "alpha 2", "Gamma", "Äpfel", "ÉCLAIR")
        ordered = [collection.name for collection in crawlers.collections.by_name()]
        assert ordered == ["Alpha", "alpha 2", "Äpfel", "beta", "ÉCLAIR", "Gamma"]

    def test_paging_by_name_neither_repeats_nor_skips(self, crawlers: Team) -> None:
        rows = named(crawlers, "b", "B", "a", "b", "c", "A", "Äpfel", "b 2")
        seen: list[Collection] = []
        by_name = Collection.objects.by_name()
        while page := list(by_name.after(seen[-1].name, seen[-1].pk)[:3] if seen else by_name[:3]):
            seen += page
        assert seen == list(by_name)
        assert sorted(row.pk for row in seen) == [row.pk for row in rows]


class TestQuestions:
    def test_an_archived_collection_is_not_current_until_it_is_restored(self, crawlers: Team) -> None:
        old, new = named(crawlers, "old", "new")
        old.archive(at=datetime(2026, 6, 20, tzinfo=UTC))
        assert list(Collection.objects.current()) == [new]
        assert list(Collection.objects.archived()) == [old]
        restore(old)
        assert set(Collection.objects.current()) == {old, new}

    def test_search_finds_any_part_of_the_name_in_any_case(self, crawlers: Team) -> None:
        laptops, _, hundred = named(crawlers, "AU Laptops", "Chairs", "100% cotton")
        assert list(Collection.objects.named_like("lapt")) == [laptops]
        assert list(Collection.objects.named_like("%")) == [hundred]

    @pytest.mark.parametrize("text", ["Café", "CAFÉ", "cafe", "Cafe\u0301"])
    def test_search_ignores_case_and_accents_of_every_letter(self, crawlers: Team, text: str) -> None:
        [cafe] = named(crawlers, "Café")
        assert list(Collection.objects.named_like(text)) == [cafe]

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("STRASSE", "straße"),
            ("Men\u2019s  shoes", "men's shoes"),
            ("10\u00d720 \u00bd", "10x20 1/2"),
            ("Key\u00adboards", "keyboards"),
        ],
    )
    def test_search_ignores_what_it_ignores_in_records(self, crawlers: Team, name: str, text: str) -> None:
        [collection] = named(crawlers, name)
        assert list(Collection.objects.named_like(text)) == [collection]

    def test_the_upgrade_updates_all_names(self, crawlers: Team, monkeypatch: pytest.MonkeyPatch) -> None:
        migration = import_module("collections_app.migrations.0022_search_names")
        monkeypatch.setattr(migration, "BLOCK", 2)
        saved = named(crawlers, "Men\u2019s shoes", "AU Laptops", "\u00bd", "Keyboards", "10\u00d720")
        Collection.objects.filter(name__in=["Men\u2019s shoes", "10\u00d720"]).update(search_name="old")
        migration.update_search_names(apps, None)
        assert {each.name: each.search_name for each in Collection.objects.all()} == {
            each.name: each.search_name for each in saved
        }

    def test_a_name_of_the_longest_characters_is_stored(self, crawlers: Team) -> None:
        [collection] = named(crawlers, "\ufdfa" * 200)
        assert len(collection.search_name) == 399  # the 400th character is a space

    def test_it_knows_whether_it_scrapes_a_category(
        self, laptops: Collection, headphones: Collection
    ) -> None:
        assert (laptops.is_category, headphones.is_category) == (False, True)
        assert (str(laptops), Kind(headphones.kind).label) == ("AU Laptops", "Amazon category")


class TestRunNumbers:
    def test_they_count_from_one_and_are_never_used_twice(self, laptops: Collection) -> None:
        first, second = Run.objects.create_next(laptops), Run.objects.create_next(laptops, total=250)
        assert (first.number, second.number, second.total) == (1, 2, 250)
        assert second.state == State.PROCESSING
        second.delete()
        assert Run.objects.create_next(laptops).number == 3

    def test_a_stale_copy_of_the_collection_gets_the_next_one_too(self, laptops: Collection) -> None:
        stale = Collection.objects.get(pk=laptops.pk)
        Run.objects.create_next(laptops)
        assert Run.objects.create_next(stale).number == 2

    def test_each_collection_counts_for_itself(self, laptops: Collection, headphones: Collection) -> None:
        assert Run.objects.create_next(laptops).number == Run.objects.create_next(headphones).number == 1
