"""Bytes to whoever asked, the same for the dashboard and the API."""

from collections_app.delivery.deliver import deliver

__all__ = ["deliver"]
