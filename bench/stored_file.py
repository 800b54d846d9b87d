"""Compares downloads of a stored file from this site, directly or with X-Accel-Redirect, with nginx.

One client, eight at once, and a range. The site has its default settings, and nginx as many workers.
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
    download,
    download_rows,
    make_file,
    make_member,
    make_site,
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
    """Download the file from all three."""
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
    """Run nginx with deploy/nginx.conf."""
    prefix, port = folder / "front", free_port()
    prefix.mkdir()
    render(prefix, folder / "data", port, int(app.url.rpartition(":")[2]), None)
    upstreams = prefix / "nginx" / "upstreams.conf"
    temp_paths = "".join(f"{kind}_temp_path {prefix}/{kind};\n" for kind in ("client_body", "proxy"))
    upstreams.write_text(upstreams.read_text() + temp_paths)
    options = f"daemon off; pid {prefix}/pid; {'user root;' if IS_ROOT else ''}"
    return start_nginx(
        prefix, "front", port, app.headers, "-p", str(prefix), "-c", str(prefix / "nginx.conf"), "-g", options
    )


def compare(what: str, ours: Server, peer: Server, size: int, options: Options) -> Iterator[Row]:
    """Download it in each mode."""
    half = size // 2
    for mode, clients, range_, expected in (
        (f"{size // MEBIBYTE} MiB, 1 client", 1, "", size),
        (f"{size // MEBIBYTE} MiB, 8 clients", 8, "", size),
        ("a range of half of it, 1 client", 1, f"{half // 2}-{half // 2 + half - 1}", half),
    ):
        downloads = in_turn(
            partial(download, ours, OURS, expected, clients, range_),
            partial(download, peer, THEIRS, expected, clients, range_),
            options.pairs,
        )
        yield from download_rows(f"{what}, {mode}", downloads, at_most(1.2))


if __name__ == "__main__":
    run(measure, __doc__)
