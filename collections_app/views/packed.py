"""Pages are sent packed to browsers that ask for that: a page of runs is then a tenth of its size."""

from django.http import HttpRequest, HttpResponseBase
from django.middleware.gzip import GZipMiddleware


class PackedPages(GZipMiddleware):
    """Middleware: packs pages alone. Files and what scripts are answered keep their sizes, ETags and ranges.

    Django adds some bytes of chance, so that the size tells nothing of what is on a page (BREACH).
    """

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Pack the answer if it is a page, or a part of one."""
        if response.streaming or not response.get("Content-Type", "").startswith("text/html"):
            return response
        return super().process_response(request, response)
