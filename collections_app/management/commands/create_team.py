"""Create a team and its first owner."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction

from collections_app.management.arguments import check, shown, text
from collections_app.management.people import new_user, set_password
from collections_app.models import Membership, Role, Team, User


class Command(BaseCommand):
    """Creates a team and its owner, who can do everything else in the browser."""

    help = (
        "Create a team and its owner. If no user has the email address, create one: prompt for a password "
        "on a terminal, otherwise generate one and print it once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument("name", metavar="NAME", type=text, help="the team's name")
        parser.add_argument(
            "--owner", metavar="EMAIL", type=text, required=True, help="the owner's email address"
        )

    def handle(self, *args: Any, name: str, owner: str, **options: Any) -> None:
        """Create the team, and print a generated password."""
        team = Team(name=name.strip())
        check(team)
        password = None
        user = User.objects.filter(email__iexact=owner.strip()).first()
        if user is None:
            user = new_user(owner)
            password = set_password(user)
        with transaction.atomic():
            user.save()
            team.save()
            Membership.objects.create(user=user, team=team, role=Role.OWNER)
        self.stdout.write(f"Team: {shown(team.name)} (id {team.pk})\nEmail: {user.email}")
        if password:
            self.stdout.write(f"Password: {password}")
