"""Fill an empty database with the demo."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from collections_app.demo import build
from collections_app.demo.story import AU_LAPTOPS
from collections_app.models import Collection, State
from collections_app.runs.lease import RunIsBeingWritten, WriterLost
from collections_app.runs.writer import WrongUse

SECONDS_PER_PAGE = 3.0


class Command(BaseCommand):
    """Fills an empty database with the demo, or prints the account of the demo that is there."""

    help = (
        "Fill an empty database with made-up teams, collections and runs, and print the account to sign in "
        "with. Where the demo is there already, only the account is printed; a database that holds anything "
        "else is left alone."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Take --live."""
        parser.add_argument(
            "--live",
            action="store_true",
            help=f"then let the run of {AU_LAPTOPS.name} that is processing go on and complete, "
            f"a page every {SECONDS_PER_PAGE:.0f} seconds, and start the next one",
        )

    def handle(self, *args: Any, live: bool, **options: Any) -> None:
        """Build the demo where it is missing, print its account, and let it live if asked to."""
        account = build.account()
        if account is None:
            try:
                self._build()
            except build.NotTheDemo as error:
                raise CommandError(str(error)) from None
            account = build.account()
        assert account is not None
        self.stdout.write(
            f"E-mail: {account.email}\nPassword: {account.password}\nAPI key: {account.api_key}"
        )
        if live:
            self._go_on()

    def _build(self) -> None:
        bar = tqdm(build.build(), desc="Making the demo", total=build.run_count(), unit=" runs", disable=None)
        for _ in bar:
            pass

    def _go_on(self) -> None:
        collection = Collection.objects.filter(pk=AU_LAPTOPS.id).first()
        if collection is None:
            raise CommandError(f"The demo's collection {AU_LAPTOPS.name} is gone.")
        run = collection.runs.filter(state=State.PROCESSING).newest_first().first()
        run = run or build.start_next(collection)
        with tqdm(
            desc=f"Run {run.number}", total=run.total, initial=run.extracted or 0, unit=" records"
        ) as bar:
            try:
                for added in build.go_on(run):
                    bar.update(added)
                    time.sleep(SECONDS_PER_PAGE)
            except (RunIsBeingWritten, WriterLost, WrongUse) as error:
                raise CommandError(str(error)) from None
        following = build.start_next(collection)
        self.stdout.write(f"Run {run.number} is completed; run {following.number} is processing now.")
