"""A check of range requests."""

from django.test import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import responses
from tests.support.tools import examples


def check_ranges(client: Client, address: str, count: int) -> None:
    """Check that many ranges of a file equal these parts of the entire file."""
    complete = client.get(address)
    assert complete.status_code == 200
    etag, body = complete["ETag"], b"".join(complete)

    @settings(max_examples=examples(count))
    @given(first=st.integers(0, len(body) - 1), length=st.integers(1, len(body)))
    def check(first: int, length: int) -> None:
        headers = {"Range": f"bytes={first}-{first + length - 1}", "If-Range": etag}
        response = client.get(address, headers=headers)
        assert response.status_code == 206
        assert responses.content(response) == body[first : first + length]

    check()
