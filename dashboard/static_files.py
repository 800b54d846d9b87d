"""Static files whose names contain a digest, so that browsers can cache them forever.

This uses private parts of WhiteNoise, as read in version 6.12.0.
"""

from typing import Any

import brotli
from whitenoise.compress import Compressor
from whitenoise.middleware import WhiteNoiseMiddleware
from whitenoise.storage import CompressedManifestStaticFilesStorage


class FastCompressor(Compressor):  # type: ignore[misc]
    """Compress at Brotli's level 9: the default, 11, takes eight times as long for files a tenth smaller."""

    @staticmethod
    def compress_brotli(data: bytes) -> bytes:
        """Return the compressed data."""
        return bytes(brotli.compress(data, quality=9))


class DigestedStaticFiles(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """Also replace names in the imports of our own scripts: `import ... from "./other.js";`.

    Django's support_js_module_import_aggregation would also process the scripts of packages, and some of
    these import missing files.
    """

    patterns = (
        *CompressedManifestStaticFilesStorage.patterns,
        ("js/*.js", ((r'(?P<matched>from "(?P<url>\./[\w-]+\.js)";)', 'from "%(url)s";'),)),
    )

    def create_compressor(self, **options: Any) -> FastCompressor:
        """Return the compressor for the hashed files."""
        return FastCompressor(**options)


class StaticFiles(WhiteNoiseMiddleware):  # type: ignore[misc]
    """Serve the static files, but not the manifest, which is only for this site."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.files.pop(f"{self.static_prefix}{DigestedStaticFiles.manifest_name}", None)
