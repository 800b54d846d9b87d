"""Fill an empty database with the demo."""

from datetime import date, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from tqdm import tqdm

from collections_app.demo import build
from collections_app.demo.content import ROBOT_VACUUMS
from collections_app.demo.live import CannotWrite, write_runs
from collections_app.demo.schedule import SYDNEY
from collections_app.management.stopping import until_stopped


class Command(BaseCommand):
    """Fills an empty database with the demo, or adds the runs since then, and prints how to sign in."""

    help = (
        "Fill an empty database with example teams, collections and runs, and print how to sign in. If the "
        "demo already exists, add the runs since the last time. Databases with other data are not changed."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        """Define the arguments."""
        parser.add_argument(
            "--day",
            type=_day,
            metavar="YYYY-MM-DD",
            help="create the demo as of noon on this day in Sydney, instead of now",
        )

        parser.add_argument(
            "--live",
            action="store_true",
            help=f"then write runs of {ROBOT_VACUUMS.name}, one after another, until you press Ctrl+C",
        )
        parser.add_argument(
            "--with-parent",
            action="store_true",
            help="exit when standard input ends; used by the site",
        )

    def handle(
        self, *args: Any, day: date | None, live: bool, with_parent: bool, verbosity: int, **options: Any
    ) -> None:
        """Create the demo or add its new runs, print how to sign in, and write runs with --live."""
        self._is_quiet = verbosity == 0
        try:
            self._build(day)
            self._say_how_to_sign_in()
            if live:
                self._write_runs(with_parent=with_parent)
        except (build.NotTheDemo, CannotWrite) as error:
            raise CommandError(str(error)) from None

    def _say(self, line: str) -> None:
        if not self._is_quiet:
            self.stdout.write(line)
            self.stdout.flush()

    def _build(self, day: date | None) -> None:
        missing, disable = build.count_missing(day), True if self._is_quiet else None
        for _ in tqdm(build.build(day), desc="Writing runs", total=missing, unit=" runs", disable=disable):
            pass

    def _say_how_to_sign_in(self) -> None:
        sign_in = build.sign_in()
        assert sign_in is not None
        self._say(f"Email: {sign_in.email}\nPassword: {sign_in.password}\nAPI key: {sign_in.api_key}")

    def _write_runs(self, *, with_parent: bool) -> None:
        self._say(f"Writing runs of {ROBOT_VACUUMS.name}. Press Ctrl+C to stop.")
        with until_stopped(with_parent=with_parent):
            for run in write_runs():
                self._say(f"Run {run.number} is completed.")


def _day(text: str) -> date:
    day = date.fromisoformat(text)
    if day > datetime.now(SYDNEY).date():
        raise ValueError("This day is in the future.")
    return day
