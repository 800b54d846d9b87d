import io
import sys

import pytest
from django.core.management import CommandError, call_command

from collections_app.models import Role, Team, User

pytestmark = pytest.mark.django_db


def create_user(*args: str) -> dict[str, str]:
    """Run the command and return the lines it prints, keyed by the text before the colon."""
    output = io.StringIO()
    call_command("create_user", *args, stdout=output)
    return dict(line.split(": ", 1) for line in output.getvalue().splitlines())


def test_it_creates_a_user_who_can_sign_in_with_the_printed_password() -> None:
    printed = create_user("Dora@example.com", "--name", "Dora Diaz")
    dora = User.objects.get()
    assert printed["Email"] == dora.email == "dora@example.com"
    assert dora.check_password(printed["Password"])
    assert (dora.name, dora.is_staff, dora.memberships.count()) == ("Dora Diaz", False, 0)


def test_it_adds_the_user_to_a_team_as_a_member(crawlers: Team) -> None:
    create_user("dora@example.com", "--team", "Crawlers")
    assert crawlers.memberships.get().role == Role.MEMBER


def test_it_accepts_a_team_id_and_a_role(crawlers: Team) -> None:
    create_user("dora@example.com", "--team", str(crawlers.pk), "--role", "admin")
    assert crawlers.memberships.get().role == Role.ADMIN


def test_it_creates_an_operator() -> None:
    create_user("dora@example.com", "--operator")
    dora = User.objects.get()
    assert dora.is_staff
    assert dora.is_superuser


@pytest.mark.parametrize(
    ("args", "problem"),
    [
        (["ALICE@example.com"], "email: A user with this email address already exists."),
        (["dora"], "email: Enter a valid email address."),
        (["dora@example.com", "--role", "owner"], "--role needs a team. Choose one with --team."),
        (["dora@example.com", "--team", "Nobodies"], 'No team has the id or name "Nobodies".'),
        (["dora@example.com", "--team", "9" * 30], f'No team has the id or name "{"9" * 30}".'),
    ],
)
def test_errors_are_reported_and_no_user_is_created(alice: User, args: list[str], problem: str) -> None:
    with pytest.raises(CommandError) as error:
        create_user(*args)
    assert str(error.value) == problem
    assert list(User.objects.all()) == [alice]


def test_a_team_name_can_be_a_number() -> None:
    year = Team.objects.create(name="2026")
    create_user("dora@example.com", "--team", "2026")
    assert year.memberships.exists()


def test_on_a_terminal_it_prompts_for_the_password_and_does_not_print_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("getpass.getpass", lambda prompt: "a good long one")
    assert create_user("dora@example.com") == {"Email": "dora@example.com"}
    assert User.objects.get().check_password("a good long one")


def test_an_ambiguous_team_name_is_rejected(crawlers: Team) -> None:
    other = Team.objects.create(name="Crawlers")
    with pytest.raises(CommandError) as error:
        create_user("dora@example.com", "--team", "Crawlers")
    assert str(error.value) == (
        f'Several teams are named "Crawlers". Use an id instead: {crawlers.pk}, {other.pk}.'
    )


@pytest.mark.parametrize(
    "args",
    [["\udcff@example.com"], ["a@example.com", "--name", "\udcff"], ["a@example.com", "--team", "\udcff"]],
)
def test_invalid_utf8_is_rejected(args: list[str]) -> None:
    with pytest.raises(CommandError, match="is not UTF-8 text"):
        create_user(*args)
