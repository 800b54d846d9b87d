import io

import pytest
from django.core.management import CommandError, call_command

from collections_app.models import Collection, Kind, Team


def create_collection(*args: str) -> str:
    output = io.StringIO()
    call_command("create_collection", *args, stdout=output)
    return output.getvalue()


def test_it_creates_a_product_collection_and_prints_its_id(crawlers: Team) -> None:
    printed = create_collection("Crawlers", "AU Laptops")
    collection = crawlers.collections.get()
    assert (collection.name, collection.kind) == ("AU Laptops", Kind.AMAZON)
    assert printed == f"Collection: AU Laptops (id {collection.pk})\n"


@pytest.mark.parametrize("kind", Kind.values)
def test_it_creates_collections_of_every_kind(crawlers: Team, kind: str) -> None:
    create_collection(str(crawlers.pk), 'Café "Crème" / 24/7', "--kind", kind)
    assert crawlers.collections.get().kind == kind


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["Nobodies", "AU Laptops"], 'No team has the id or name "Nobodies".'),
        (["Crawlers", " "], "name: This field cannot be blank."),
        (["Crawlers", "x" * 201], "name: Enter at most 200 characters. You entered 201."),
    ],
)
def test_errors_are_reported_and_nothing_is_created(crawlers: Team, args: list[str], problem: str) -> None:
    with pytest.raises(CommandError) as error:
        create_collection(*args)
    assert str(error.value) == problem
    assert not Collection.objects.exists()


@pytest.mark.parametrize("args", [["\udcff", "AU Laptops"], ["Crawlers", "\udcff"]])
def test_invalid_utf8_is_rejected(crawlers: Team, args: list[str]) -> None:
    with pytest.raises(CommandError, match="is not UTF-8 text"):
        create_collection(*args)


def test_control_characters_in_a_name_are_rejected(crawlers: Team) -> None:
    with pytest.raises(CommandError, match="name: Remove line breaks"):
        create_collection("Crawlers", "Red\x1b[31m")


def test_a_team_has_only_one_collection_of_a_name(crawlers: Team, laptops: Collection) -> None:
    laptops.archive()
    with pytest.raises(CommandError) as error:
        create_collection("Crawlers", "au LAPTOPS")
    assert str(error.value) == (
        "This team already has a collection named AU Laptops (id 101). Choose another name."
    )
    create_collection("Crawlers", "AU Laptops 2")
    assert crawlers.collections.count() == 2
