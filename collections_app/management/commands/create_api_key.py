"""Make an API key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from collections_app.management.arguments import check, membership_of, team_of, text, user_of
from collections_app.models import ApiKey


class Command(BaseCommand):
    """Makes an API key for a member of a team."""

    help = "Make an API key and print it. Only a digest is kept, so it can't be printed again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the person, the team and a name for the key."""
        parser.add_argument("email", metavar="EMAIL", type=text, help="whose key it is")
        parser.add_argument(
            "--team", type=text, help="the id or exact name of the team that the key opens (if in several)"
        )
        parser.add_argument(
            "--name",
            type=text,
            default="Command line",
            help="a name to know the key by (default: %(default)s)",
        )

    def handle(self, *args: Any, email: str, team: str | None, name: str, **options: Any) -> None:
        """Make the key and print it."""
        membership = membership_of(user_of(email), team_of(team) if team else None)
        check(ApiKey(membership=membership, name=name.strip(), prefix="-", digest="-"))
        _, text = ApiKey.objects.issue(membership, name.strip())
        self.stdout.write(f"API key: {text}")
