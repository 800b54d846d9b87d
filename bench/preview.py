"""Compares the preview of a run with DuckDB on the same records in the same process.

DuckDB reads the JSON for each query, as its command line does. The preview reads it once, into a table, whose
creation is measured too. bench/records.py generates the records.
"""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from bench.measure import (
    MEBIBYTE,
    Options,
    Row,
    at_most,
    in_turn,
    ratio_row,
    run,
    seconds_of,
    value_row,
)
from bench.records import Shop, write_page
from bench.servers import bench_folder, grown_while
from tests.support.server import environment


def measure(options: Options) -> Iterator[Row]:
    """Query a page, then a large run."""
    with bench_folder() as folder:
        os.environ.update(environment(folder))
        set_up(folder)
        yield from compare(folder, options.either(20, 5), options)
        yield from large(folder, options.either(1024, 32))


def set_up(folder: Path) -> None:
    """Create a database."""
    import django  # noqa: PLC0415  # the settings read the environment

    django.setup()
    from django.core.management import call_command  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    (folder / "converted").mkdir(exist_ok=True)


def make_run(folder: Path, name: str, mebibytes: int) -> tuple[list[Any], Path]:
    """Create a completed run with one page. Return its files with records, and its path."""
    from django.utils import timezone  # noqa: PLC0415

    from collections_app.models import Collection, FileKind, Run, State, Team  # noqa: PLC0415
    from collections_app.records.preview.records import files_of_records  # noqa: PLC0415

    path = folder / "results" / name
    write_page(path, Shop().records(), mebibytes * MEBIBYTE)
    team, _ = Team.objects.get_or_create(name="Bench")
    collection, _ = Collection.objects.get_or_create(team=team, name="Bench")
    created = Run.objects.create_next(collection)
    size = path.stat().st_size
    created.files.create(
        kind=FileKind.PAGE, position=1, name=name, key=name, size=size, modified=timezone.now()
    )
    Run.objects.filter(pk=created.pk).update(state=State.READY, file_count=1)
    return list(files_of_records(Run.objects.with_files().get(pk=created.pk))), path


def compare(folder: Path, mebibytes: int, options: Options) -> Iterator[Row]:
    """Run each query with both."""
    from collections_app.records.preview.first_records import first_records  # noqa: PLC0415
    from collections_app.records.preview.queries import TableQuery, run_query  # noqa: PLC0415
    from collections_app.records.preview.table import table_of  # noqa: PLC0415

    files, path = make_run(folder, "page.json", mebibytes)
    table = table_of(files, seconds=600)
    source, words = f"read_json('{path}')", some_words()
    questions: list[tuple[str, Callable[[], object], str]] = [
        ("the first 100 records", partial(first_records, files), f"FROM {source} LIMIT 100"),
        (
            "search",
            partial(run_query, table, TableQuery(words)),
            f"FROM {source} WHERE title ILIKE '%{words}%' LIMIT 100",
        ),
        (
            "sort by a number",
            partial(run_query, table, TableQuery(sort="price_cents", descending=True)),
            f"FROM {source} ORDER BY price_cents DESC LIMIT 100",
        ),
        (
            "sort by a text",
            partial(run_query, table, TableQuery(sort="title")),
            f"FROM {source} ORDER BY title LIMIT 100",
        ),
    ]
    for name, ours, theirs in questions:
        pairs = in_turn(
            partial(seconds_of, ours), partial(seconds_of, partial(query_duckdb, theirs)), options.pairs
        )
        yield ratio_row(f"preview of {mebibytes} MiB, {name}, seconds", pairs, at_most(1.2), form="{:.3f}")


def some_words() -> str:
    """Return words from a record's title."""
    records = Shop().records()
    title: str = [next(records)["title"] for _ in range(200)][-1]
    return " ".join(title.split()[:3])


def query_duckdb(statement: str) -> None:
    """Run a query in DuckDB."""
    import duckdb  # noqa: PLC0415  # after Django's settings

    duckdb.execute(statement).fetchall()


def large(folder: Path, mebibytes: int) -> Iterator[Row]:
    """Measure the first records of a large run, its table and its queries."""
    from collections_app.records.preview.facts import facts_of  # noqa: PLC0415
    from collections_app.records.preview.first_records import first_records  # noqa: PLC0415
    from collections_app.records.preview.queries import TableQuery, run_query  # noqa: PLC0415
    from collections_app.records.preview.table import table_of  # noqa: PLC0415

    what = f"preview of {mebibytes} MiB"
    files, _ = make_run(folder, "large.json", mebibytes)

    def row(name: str, work: Callable[[], object], **more: Any) -> Row:
        seconds, grown = grown_while(lambda: seconds_of(work))
        return value_row(f"{what}, {name}, seconds", seconds, memory=f"{grown:.1f} MiB", **more)

    yield row("the first 100 records", lambda: first_records(files), target=at_most(1), form="{:.3f}")
    yield row("its table, created once in the background", lambda: table_of(files, seconds=1200))
    table = table_of(files, seconds=1)
    for name, query in (
        ("search", TableQuery(some_words())),
        ("sort by a number", TableQuery(sort="price_cents", descending=True)),
        ("sort by a text", TableQuery(sort="title")),
        ("records from the middle on", TableQuery(after=table.records // 2)),
    ):
        yield row(name, partial(run_query, table, query))
    yield row("statistics, calculated once in the background", lambda: facts_of(table, seconds=1200))


if __name__ == "__main__":
    run(measure, __doc__)
