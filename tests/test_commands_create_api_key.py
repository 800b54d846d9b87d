import io

import pytest
from django.core.management import CommandError, call_command

from collections_app.models import ApiKey, Membership, Role, Team, User
from tests.support.keys import recognize


def create_api_key(*args: str) -> str:
    output = io.StringIO()
    call_command("create_api_key", *args, stdout=output)
    printed = output.getvalue()
    assert printed.startswith("API key: ")
    return printed.removeprefix("API key: ").strip()


def test_the_printed_key_works_for_the_users_team(bob: User) -> None:
    key = recognize(create_api_key("BOB@example.com", "--name", "nightly job"))
    assert key is not None
    assert key.name == "nightly job"
    assert key.membership == bob.memberships.get()


def test_a_user_in_several_teams_needs_the_team_option(bob: User, crawlers: Team, strangers: Team) -> None:
    in_strangers = Membership.objects.create(user=bob, team=strangers, role=Role.MEMBER)
    with pytest.raises(CommandError) as error:
        create_api_key("bob@example.com")
    assert str(error.value) == (
        'bob@example.com is in several teams ("Crawlers", "Strangers"). Choose one with --team.'
    )
    key = recognize(create_api_key("bob@example.com", "--team", "Strangers"))
    assert key is not None
    assert key.membership == in_strangers


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["nobody@example.com"], "User nobody@example.com doesn't exist. Create the user with create_user."),
        (["eve@example.com"], "eve@example.com isn't in a team."),
        (["bob@example.com", "--team", "Strangers"], "bob@example.com isn't a member of Strangers."),
        (["bob@example.com", "--name", " "], "name: This field cannot be blank."),
    ],
)
def test_errors_are_reported_and_no_key_is_created(
    bob: User, eve: User, strangers: Team, args: list[str], problem: str
) -> None:
    with pytest.raises(CommandError) as error:
        create_api_key(*args)
    assert str(error.value) == problem
    assert not ApiKey.objects.exists()


@pytest.mark.parametrize(
    "args", [["\udcff"], ["bob@example.com", "--team", "\udcff"], ["bob@example.com", "--name", "\udcff"]]
)
def test_invalid_utf8_is_rejected(bob: User, args: list[str]) -> None:
    with pytest.raises(CommandError, match="is not UTF-8 text"):
        create_api_key(*args)
