"""Make a user."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from collections_app.management.arguments import team_of, text
from collections_app.management.people import give_password, new_user
from collections_app.models import Membership, Role


class Command(BaseCommand):
    """Makes a user, in a team if one is named."""

    help = (
        "Make a user. The password is asked for on a terminal; elsewhere one is made up and printed, once. "
        "Put the user into a team with --team and --role."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the address and what the user becomes."""
        parser.add_argument("email", metavar="EMAIL", type=text, help="the e-mail address to sign in with")
        parser.add_argument("--name", type=text, default="", help="the person's name")
        parser.add_argument("--team", type=text, help="the id or exact name of a team to join")
        parser.add_argument("--role", choices=Role.values, help="the role in that team (default: member)")
        parser.add_argument(
            "--operator", action="store_true", help="may use the admin pages, and see every team"
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
        """Make the user, and print the password that was made up."""
        if role and not team:
            raise CommandError("A role is a role in a team: say which one with --team.")
        joined = team_of(team) if team else None
        user = new_user(email, name)
        user.is_staff = user.is_superuser = operator
        password = give_password(user)
        with transaction.atomic():
            user.save()
            if joined:
                Membership.objects.create(user=user, team=joined, role=role or Role.MEMBER)
        self.stdout.write(f"E-mail: {user.email}")
        if password:
            self.stdout.write(f"Password: {password}")
