"""Create an API key."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from collections_app.management.arguments import check, membership_of, team_of, text, user_of
from collections_app.models import ApiKey


class Command(BaseCommand):
    """Creates an API key for a member of a team."""

    help = "Create an API key and print it. Only its digest is stored, so the key can't be shown again."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument("email", metavar="EMAIL", type=text, help="the email address of the key's owner")
        parser.add_argument(
            "--team", type=text, help="the id or exact name of the team; needed if the owner is in several"
        )
        parser.add_argument(
            "--name",
            type=text,
            default="Command line",
            help="the name of the key (default: %(default)s)",
        )

    def handle(self, *args: Any, email: str, team: str | None, name: str, **options: Any) -> None:
        """Create the key and print it."""
        membership = membership_of(user_of(email), team_of(team) if team else None)
        check(ApiKey(membership=membership, name=name.strip(), prefix="-", digest="-"))
        _, text = ApiKey.objects.issue(membership, name.strip())
        self.stdout.write(f"API key: {text}")
