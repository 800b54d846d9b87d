"""Create a user."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from collections_app.management.arguments import team_of, text
from collections_app.management.people import new_user, set_password
from collections_app.models import Membership, Role


class Command(BaseCommand):
    """Creates a user, optionally in a team."""

    help = (
        "Create a user. Prompt for a password on a terminal, otherwise generate one and print it once. Use "
        "--team and --role to add the user to a team."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument("email", metavar="EMAIL", type=text, help="the email address to sign in with")
        parser.add_argument("--name", type=text, default="", help="the user's name")
        parser.add_argument("--team", type=text, help="the id or exact name of a team to join")
        parser.add_argument("--role", choices=Role.values, help="the role in that team (default: member)")
        parser.add_argument(
            "--operator", action="store_true", help="give access to the admin pages, which show all teams"
        )

    def handle(
        self,
        *args: Any,
        email: str,
        name: str,
        team: str | None,
        role: str | None,
        operator: bool,
        **options: Any,
    ) -> None:
        """Create the user, and print a generated password."""
        if role and not team:
            raise CommandError("--role needs a team. Choose one with --team.")
        joined = team_of(team) if team else None
        user = new_user(email, name)
        user.is_staff = user.is_superuser = operator
        password = set_password(user)
        with transaction.atomic():
            user.save()
            if joined:
                Membership.objects.create(user=user, team=joined, role=role or Role.MEMBER)
        self.stdout.write(f"Email: {user.email}")
        if password:
            self.stdout.write(f"Password: {password}")
