"""Write a run from files."""

from collections.abc import Callable

from collections_app.files.names import UniqueNames, archive_name, kept_name
from collections_app.models import Collection, Run
from collections_app.records.formats.json_records import read_json_lines
from collections_app.runs.incoming.files import Incoming
from collections_app.runs.incoming.forms import Form
from collections_app.runs.incoming.objects import naming
from collections_app.runs.writer import ResultSetWriter


def write_run(
    collection: Collection,
    files: list[Incoming],
    page_size: int,
    progress: Callable[[int], object],
    *,
    discard_if_killed: bool = False,
) -> Run:
    """Write a new run from files that checked() has returned. If one has an error, write nothing.

    If several files would have the same name, the later ones get a number. Each read calls `progress` with
    the number of bytes. Raises Unusable, WrongUse, LeaseLost, OSError.

    With `discard_if_killed`, the next repair deletes the run if this process is killed.
    """
    with ResultSetWriter.start(
        collection, page_size=page_size, discard_if_killed=discard_if_killed
    ) as writer:
        names = UniqueNames([archive_name(collection.name, writer.run.number)])
        for file in files:
            with naming(file), file.open(progress) as stream:
                if file.form is Form.LINES:
                    for record in read_json_lines(stream):
                        writer.add_record_text(record)
                else:
                    writer.add_page(names.add(kept_name(file.name)), stream, records_at=file.records_at)
    return writer.run
