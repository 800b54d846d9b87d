"""Compares downloads of a page of 290 KB with a bare Django view and with nginx, which check nothing.

The bare view belongs to a Django project without middleware (bench/bare.py). It has the same gunicorn
settings as the site, and also sends the file with sendfile. Each server has one process.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bench.measure import Options, Row, at_least, run
from bench.pages import Site, compare, running_site
from bench.records import Shop, write_page
from bench.servers import STATIC, bench_folder, run_nginx, run_site
from tests.support.server import free_port

NAME = "page.json"
SIZE = 290_000
ADD_FILE = """
collection = Collection.objects.create(pk=101, team=team, name="AU Laptops")
run = Run.objects.create(collection=collection, number=88, state="ready", file_count=1)
run.files.create(kind="page", position=1, name="NAME", key="NAME", size=SIZE, modified="2026-06-20T12:00:00Z")
"""
BY_KEY, BY_SESSION = f"/api/v1/results/101/88/{NAME}", f"/collections/101/runs/88/files/{NAME}"
TARGET = at_least(0.5)


def measure(options: Options) -> Iterator[Row]:
    """Download the file repeatedly."""
    with bench_folder() as folder, running_site(options) as ours:
        results, port = folder / "results", free_port()
        file = write_file(results)
        (ours.data_dir / "results" / NAME).write_bytes(file.read_bytes())
        ours.run_code(ADD_FILE.replace("NAME", NAME).replace("SIZE", str(file.stat().st_size)))
        more = {"WEB_CONCURRENCY": "1", "DJANGO_SETTINGS_MODULE": "bench.bare"}
        config = STATIC.format(port=port, root=results)
        with run_site(folder, {}, **more) as bare, run_nginx(folder, "static", config, port) as nginx:
            peer, fastest = Site(bare, folder, options), Site(nginx, folder, options)
            page = "page of 290 KB"
            for connections in (8, 1):
                mine = partial(ours.load, BY_KEY, connections=connections)
                theirs = partial(peer.load, f"/{NAME}", connections=connections)
                what = f"{page} by API key, {connections} at once, and a bare Django view"
                yield from compare(what, mine, theirs, TARGET, options)
            signed_in = partial(ours.load, BY_SESSION, connections=8)
            mine = partial(ours.load, BY_KEY, connections=8)
            theirs = partial(peer.load, f"/{NAME}", connections=8)
            best = partial(fastest.load, f"/{NAME}", connections=8)
            what = f"{page} by session, 8 at once, and a bare Django view"
            yield from compare(what, signed_in, theirs, None, options)
            yield from compare(f"{page} by API key, 8 at once, and nginx", mine, best, None, options)
            yield from compare(
                f"{page} by a bare Django view, 8 at once, and nginx", theirs, best, None, options
            )


def write_file(folder: Path) -> Path:
    """Write the page, so that nginx can read it. Return its path."""
    file = folder / NAME
    write_page(file, Shop().records(), SIZE)
    folder.chmod(0o755)
    file.chmod(0o644)
    return file


if __name__ == "__main__":
    run(measure, __doc__)
