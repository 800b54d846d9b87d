"""Fixtures for tests of previews."""

import pytest

from collections_app.records.preview import facts, first_records, histograms, table
from collections_app.system import background


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run background work within the request and in the thread of the test, which sees its rows.

    Forget the jobs of other tests, whose runs have the same IDs.
    """
    monkeypatch.setattr(background, "in_background", lambda work, **_: work())
    for module in (first_records, facts, histograms, table):
        module._background.clear()
