"""Deliver files over HTTP, for the dashboard and the API."""

from collections_app.files.delivery.deliver import deliver
from collections_app.files.delivery.parallel_downloads import RETRY_AFTER_SECONDS, Downloader, TooManyStreams

__all__ = ["RETRY_AFTER_SECONDS", "Downloader", "TooManyStreams", "deliver"]
