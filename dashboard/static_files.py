"""Static files under names that carry a digest of what is in them, so that browsers may keep them."""

from typing import Any

import brotli
from whitenoise.compress import Compressor
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage


class QuickCompressor(Compressor):  # type: ignore[misc]
    """Compress at Brotli's level 9: the default, 11, takes eight times as long for files a tenth smaller."""

    @staticmethod
    def compress_brotli(data: bytes) -> bytes:
        """Return the compressed data."""
        return bytes(brotli.compress(data, quality=9))


class DigestedStaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Also where one of our own scripts imports another, in a line `import ... from "./other.js";`.

    What Django has for this reads every package's scripts too, and some of those import what isn't there.
    """

    patterns = (
        *CompressedManifestStaticFilesStorage.patterns,
        ("js/*.js", ((r'(?P<matched>from "(?P<url>\./[\w-]+\.js)";)', 'from "%(url)s";'),)),
    )

    def create_compressor(self, **options: Any) -> QuickCompressor:
        """Return the compressor for files with their final names."""
        return QuickCompressor(**options)


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Serve the static files, but not the manifest, which is only for this site."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.files.pop(f"{self.static_prefix}{DigestedStaticFiles.manifest_name}", None)
