import io
import sys

import pytest
from django.core.management import CommandError, call_command

from collections_app.models import Role, Team, User

pytestmark = pytest.mark.django_db


def create_team(*args: str) -> dict[str, str]:
    """Run the command and return the lines it prints, keyed by the text before the colon."""
    output = io.StringIO()
    call_command("create_team", *args, stdout=output)
    return dict(line.split(": ", 1) for line in output.getvalue().splitlines())


def test_it_creates_a_team_and_an_owner_who_can_sign_in_with_the_printed_password() -> None:
    printed = create_team("Shop watchers", "--owner", "Olga@Example.com")
    team = Team.objects.get(name="Shop watchers")
    owner = team.memberships.get()
    assert (owner.role, owner.user.email) == (Role.OWNER, "olga@example.com")
    assert owner.user.check_password(printed["Password"])
    assert printed["Team"] == f"Shop watchers (id {team.pk})"


def test_an_existing_user_becomes_the_owner_and_keeps_the_password(alice: User) -> None:
    printed = create_team("Second team", "--owner", "ALICE@example.com")
    assert "Password" not in printed
    assert alice.memberships.get(team__name="Second team").role == Role.OWNER
    before = alice.password
    alice.refresh_from_db()
    assert alice.password == before


@pytest.mark.parametrize(
    ("name", "owner", "problem"),
    [
        ("Team", "no address", "email: Enter a valid email address."),
        ("  ", "olga@example.com", "name: This field cannot be blank."),
        ("x" * 101, "olga@example.com", "name: Enter at most 100 characters. You entered 101."),
    ],
)
def test_errors_are_reported_and_nothing_is_created(name: str, owner: str, problem: str) -> None:
    with pytest.raises(CommandError) as error:
        create_team(name, "--owner", owner)
    assert str(error.value) == problem
    assert not Team.objects.exists()
    assert not User.objects.exists()


class TestOnATerminal:
    @pytest.fixture(autouse=True)
    def terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)

    def answers(self, monkeypatch: pytest.MonkeyPatch, *answers: str) -> None:
        left = list(answers)
        monkeypatch.setattr("getpass.getpass", lambda prompt: left.pop(0))

    def test_it_prompts_for_the_password_twice(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers(monkeypatch, "a good long one", "a good long one")
        printed = create_team("Shop watchers", "--owner", "olga@example.com")
        assert "Password" not in printed
        assert User.objects.get().check_password("a good long one")

    @pytest.mark.parametrize(
        ("answers", "problem"),
        [
            (["a good long one", "another one"], "The passwords don't match."),
            (["short"], "This password is too short. It must contain at least 8 characters."),
        ],
    )
    def test_an_unsuitable_password_creates_nothing(
        self, monkeypatch: pytest.MonkeyPatch, answers: list[str], problem: str
    ) -> None:
        self.answers(monkeypatch, *answers)
        with pytest.raises(CommandError, match=problem):
            create_team("Shop watchers", "--owner", "olga@example.com")
        assert not User.objects.exists()


@pytest.mark.parametrize("args", [["\udcff", "--owner", "a@example.com"], ["Team", "--owner", "\udcff"]])
def test_invalid_utf8_is_rejected(args: list[str]) -> None:
    with pytest.raises(CommandError, match="is not UTF-8 text"):
        create_team(*args)


def test_control_characters_in_a_name_are_rejected() -> None:
    with pytest.raises(CommandError, match="name: Remove line breaks"):
        create_team("Red\x1b[31m", "--owner", "olga@example.com")
