"""Measures a stored file that this site sends, by itself or through nginx, beside nginx on its folder.

One reader, eight at once, and a range; the site as it is served by default, and nginx with as many workers.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench.measure import MEBIBYTE, Options, Row, at_most, in_turn, run
from bench.servers import (
    IS_ROOT,
    STATIC,
    Server,
    bench_folder,
    make_file,
    make_member,
    make_site,
    read,
    reading_rows,
    run_code,
    run_nginx,
    run_site,
    start_nginx,
)
from tests.support.server import free_port
from tests.test_nginx import render

NAME = "large.json"
MODIFIED = datetime(2026, 6, 20, tzinfo=UTC)
ADD_FILE = """
collection = Collection.objects.create(pk=101, team=team, name="AU Laptops")
run = Run.objects.create(collection=collection, number=88, state="ready", file_count=1)
run.files.create(kind="page", position=1, name="NAME", key="NAME", size=SIZE, modified="MODIFIED")
"""
OURS, THEIRS = f"/api/v1/results/101/88/{NAME}", f"/{NAME}"


def measure(options: Options) -> Iterator[Row]:
    """Read the file from all three."""
    size = options.either(1024, 256) * MEBIBYTE
    with bench_folder() as folder:
        data_dir, port = folder / "data", free_port()
        make_site(data_dir)
        headers = make_member(data_dir)
        file = data_dir / "results" / NAME
        make_file(file, size // MEBIBYTE)
        os.utime(file, (MODIFIED.timestamp(), MODIFIED.timestamp()))
        code = ADD_FILE.replace("NAME", NAME).replace("SIZE", str(size))
        run_code(data_dir, code.replace("MODIFIED", MODIFIED.isoformat()))
        server = STATIC.format(port=port, root=data_dir / "results")
        with run_nginx(folder, "static", server, port, workers=os.cpu_count() or 1) as peer:
            with run_site(data_dir, headers) as ours:
                yield from compare("stored file", ours, peer, size, options)
            with (
                run_site(data_dir, headers, DELIVERY="nginx") as behind,
                in_front_of(behind, folder) as front,
            ):
                ours = replace(front, pids=(*front.pids, *behind.pids))
                yield from compare("stored file by X-Accel-Redirect", ours, peer, size, options)


def in_front_of(app: Server, folder: Path) -> AbstractContextManager[Server]:
    """Run nginx by our own configuration, deploy/nginx.conf."""
    prefix, port = folder / "front", free_port()
    prefix.mkdir()
    render(prefix, folder / "data", port, int(app.url.rpartition(":")[2]), None)
    upstreams = prefix / "nginx" / "upstreams.conf"
    own = "".join(f"{kind}_temp_path {prefix}/{kind};\n" for kind in ("client_body", "proxy"))
    upstreams.write_text(upstreams.read_text() + own)
    options = f"daemon off; pid {prefix}/pid; {'user root;' if IS_ROOT else ''}"
    return start_nginx(
        prefix, "front", port, app.headers, "-p", str(prefix), "-c", str(prefix / "nginx.conf"), "-g", options
    )


def compare(what: str, ours: Server, peer: Server, size: int, options: Options) -> Iterator[Row]:
    """Read it in every way."""
    half = size // 2
    for how, readers, asked, expected in (
        (f"{size // MEBIBYTE} MiB, 1 reader", 1, "", size),
        (f"{size // MEBIBYTE} MiB, 8 readers", 8, "", size),
        ("a range of half of it, 1 reader", 1, f"{half // 2}-{half // 2 + half - 1}", half),
    ):
        readings = in_turn(
            partial(read, ours, OURS, expected, readers, asked),
            partial(read, peer, THEIRS, expected, readers, asked),
            options.pairs,
        )
        yield from reading_rows(f"{what}, {how}", readings, at_most(1.2))


if __name__ == "__main__":
    run(measure, __doc__)
