"""Static files under names that carry a digest of what is in them, so that browsers may keep them."""

from typing import Any

from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage


class DigestedStaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Also where one of our own scripts imports another, in a line `import ... from "./other.js";`.

    What Django has for this reads every package's scripts too, and some of those import what isn't there.
    """

    patterns = (
        *CompressedManifestStaticFilesStorage.patterns,
        ("js/*.js", ((r'(?P<matched>from "(?P<url>\./[\w-]+\.js)";)', 'from "%(url)s";'),)),
    )


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Middleware: serves the static files, but not the list of them, which is for this site alone."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.files.pop(f"{self.static_prefix}{DigestedStaticFiles.manifest_name}", None)
