"""What tests of previews share."""

import pytest

from collections_app.records.preview import facts, first_records, table
from collections_app.system import background


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what goes on in the background before the answer, in the test's own thread, which sees its rows.

    Nothing is known of other tests, whose runs have the same ids.
    """
    monkeypatch.setattr(background, "in_background", lambda work, **_: work())
    for module in (first_records, facts, table):
        module._background.clear()
