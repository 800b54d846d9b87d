"""The forms of the profile page."""

from typing import Any

from collections_app.models import ApiKey, User
from collections_app.views.forms import ChangeNameForm, NameForm


class ProfileForm(ChangeNameForm):
    """The user's name."""

    class Meta:
        model = User
        fields = ["name"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["name"].widget.attrs["autocomplete"] = "name"


class KeyForm(NameForm):
    """A new API key."""

    class Meta:
        model = ApiKey
        fields = ["name"]
        labels = {"name": "Key name"}
        error_messages = {"name": {"required": "Enter a name for the key, such as “nightly import”."}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # The profile page has another form with a name.
        super().__init__(*args, auto_id="key_%s", **kwargs)
