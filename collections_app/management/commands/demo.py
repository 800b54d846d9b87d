"""Fill an empty database with the demo."""

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from collections_app.demo import build
from collections_app.demo.content import AU_LAPTOPS
from collections_app.models import Collection, State
from collections_app.runs.lease import LeaseLost, RunIsBeingWritten
from collections_app.runs.writer import WrongUse

SECONDS_PER_PAGE = 3.0


class Command(BaseCommand):
    """Fills an empty database with the demo, or prints how to sign in to an existing demo."""

    help = (
        "Fill an empty database with example teams, collections and runs, and print how to sign in. If the "
        "demo already exists, only print how to sign in. Databases with other data are not changed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument(
            "--live",
            action="store_true",
            help=f"then continue the processing run of {AU_LAPTOPS.name} until it completes, one page every "
            f"{SECONDS_PER_PAGE:.0f} seconds, and start the next run",
        )

    def handle(self, *args: Any, live: bool, **options: Any) -> None:
        """Create the demo if it doesn't exist, print how to sign in, and continue its run with --live."""
        sign_in = build.sign_in()
        if sign_in is None:
            try:
                self._build()
            except build.NotTheDemo as error:
                raise CommandError(str(error)) from None
            sign_in = build.sign_in()
        assert sign_in is not None
        self.stdout.write(f"Email: {sign_in.email}\nPassword: {sign_in.password}\nAPI key: {sign_in.api_key}")
        if live:
            self._continue_run()

    def _build(self) -> None:
        bar = tqdm(
            build.build(), desc="Creating the demo", total=build.run_count(), unit=" runs", disable=None
        )
        for _ in bar:
            pass

    def _continue_run(self) -> None:
        collection = Collection.objects.filter(pk=AU_LAPTOPS.id).first()
        if collection is None:
            raise CommandError(f"The demo's collection {AU_LAPTOPS.name} no longer exists.")
        run = collection.runs.filter(state=State.PROCESSING).newest_first().first()
        run = run or build.start_next(collection)
        with tqdm(
            desc=f"Run {run.number}", total=run.total, initial=run.extracted or 0, unit=" records"
        ) as bar:
            try:
                for added in build.continue_run(run):
                    bar.update(added)
                    time.sleep(SECONDS_PER_PAGE)
            except (RunIsBeingWritten, LeaseLost, WrongUse) as error:
                raise CommandError(str(error)) from None
        following = build.start_next(collection)
        self.stdout.write(f"Run {run.number} is completed. Run {following.number} is processing.")
