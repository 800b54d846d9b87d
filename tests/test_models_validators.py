"""Names that people can read."""

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from collections_app.models import Account, ApiKey, Collection, Team, User
from collections_app.models.validators import has_visible_character
from tests.conftest import signed_in

INVISIBLE = {
    "a zero-width space": "\u200b",
    "a byte order mark": "\ufeff",
    "a blank Braille pattern": "\u2800",
    "a Hangul filler": "\u3164",
    "a half-width Hangul filler": "\uffa0",
    "Hangul fillers in a syllable": "\u115f\u1160",
    "direction marks": "\u200e\u200f\u061c",
    "a direction override": "\u202e",
    "combining marks": "\u0301\u20dd",
    "joiners and variation selectors": "\u200d\ufe0f\U000e0100",
    "a soft hyphen": "\xad",
    "tags": "\U000e0041\U000e007f",
    "spaces": "\xa0\u3000\u2003",
    "several of them": "\u200b \u2800\u0301",
}
VISIBLE = ["A", "é", "e\u0301", "日本", "한", "ｱ", "7", "!", "€", "👩‍👩‍👧", "\u200bA", "\u0627", "\u2801"]
PROBLEM = "Enter at least one visible character."


@pytest.mark.parametrize("name", INVISIBLE.values(), ids=INVISIBLE)
def test_a_name_that_looks_empty_is_rejected(name: str) -> None:
    with pytest.raises(ValidationError, match=PROBLEM):
        has_visible_character(name)


@pytest.mark.parametrize("name", VISIBLE)
def test_a_name_that_can_be_seen_is_accepted(name: str) -> None:
    has_visible_character(name)


@pytest.mark.parametrize("model", [Account, ApiKey, Collection, Team, User])
@pytest.mark.parametrize(
    ("name", "problem"), [("\u3164", PROBLEM), ("a\nb", "Remove line breaks and other control characters.")]
)
def test_every_model_with_a_name_validates_it(
    model: type[Account | ApiKey | Collection | Team | User], name: str, problem: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        model(name=name).clean_fields()
    assert refused.value.message_dict["name"] == [problem]


def test_a_user_needs_no_name() -> None:
    with pytest.raises(ValidationError) as refused:
        User(name="").clean_fields()
    assert "name" not in refused.value.message_dict


@pytest.mark.django_db
@pytest.mark.parametrize(
    "command",
    [
        ("create_team", "\u2800", "--owner", "olga@example.com"),
        ("create_collection", "Crawlers", "\u2800"),
        ("create_user", "olga@example.com", "--name", "\u2800"),
        ("create_api_key", "bob@example.com", "--name", "\u2800"),
    ],
    ids=lambda command: command[0],
)
def test_commands_reject_a_name_that_looks_empty(bob: User, command: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as refused:
        call_command(*command)
    assert str(refused.value) == f"name: {PROBLEM}"
    assert not Collection.objects.exists()
    assert not ApiKey.objects.exists()
    assert [team.name for team in Team.objects.all()] == ["Crawlers"]
    assert [user.email for user in User.objects.all()] == ["bob@example.com"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("address", "fields"),
    [
        ("/collections/add", {"kind": "amazon"}),
        ("/members/add", {"email": "dora@example.com", "role": "member"}),
        ("/profile/", {}),
        ("/profile/keys", {}),
        ("/team/accounts/connect", {"key": "k" * 20}),
    ],
)
def test_forms_reject_a_name_that_looks_empty(alice: User, address: str, fields: dict[str, str]) -> None:
    page = signed_in(alice).post(address, fields | {"name": "\u2800"}).content.decode()
    assert PROBLEM in page


@pytest.mark.django_db
def test_the_admin_rejects_a_name_that_looks_empty(client: Client, laptops: Collection) -> None:
    client.force_login(User.objects.create_superuser("operator@example.com", "secret"))
    added = client.post("/admin/collections_app/team/add/", {"name": "\u2800"})
    changed = client.post(f"/admin/collections_app/collection/{laptops.pk}/change/", {"name": "\u2800"})
    for page in (added, changed):
        assert PROBLEM in page.content.decode()
    laptops.refresh_from_db()
    assert laptops.name == "AU Laptops"
