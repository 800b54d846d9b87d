"""Create a collection."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from collections_app.files.names import namesake
from collections_app.management.arguments import check, shown, team_of, text
from collections_app.models import Collection, Kind


class Command(BaseCommand):
    """Creates a collection without runs."""

    help = "Create a collection in a team. Add runs with import_run."

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument("team", metavar="TEAM", type=text, help="the team's id or exact name")
        parser.add_argument("name", metavar="NAME", type=text, help="the collection's name")
        parser.add_argument(
            "--kind", choices=Kind.values, default=Kind.AMAZON.value, help="default: %(default)s"
        )

    def handle(self, *args: Any, team: str, name: str, kind: str, **options: Any) -> None:
        """Create the collection and print its id."""
        collection = Collection(team=team_of(team), name=name.strip(), kind=kind)
        check(collection)
        # As on pages. Archived collections count, too.
        other = namesake(collection.name, collection.team.collections.named_similarly(collection.name))
        if other is not None:
            raise CommandError(
                f"This team already has a collection named {shown(other.name)} (id {other.pk}). "
                "Choose another name."
            )
        collection.save()
        self.stdout.write(f"Collection: {shown(collection.name)} (id {collection.pk})")
