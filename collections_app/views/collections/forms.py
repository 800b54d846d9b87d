"""The forms for collections."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from collections_app.files.names import collision_key
from collections_app.models import Account, Collection
from collections_app.models.collections import search_name
from collections_app.views.forms import ChangeNameForm, NameForm

_NAME_REQUIRED = {"name": {"required": "Enter a name for the collection."}}
_LARGEST_ID = 2**63 - 1  # the limit of the database


class CollectionNameForm(NameForm):
    """A name that is unique among the team's collections."""

    def clean_name(self) -> str:
        """Reject the name of another collection, ignoring case and Unicode forms."""
        name: str = self.cleaned_data["name"]
        others = self.instance.team.collections.exclude(pk=self.instance.pk)
        for other in others.filter(search_name=search_name(name)):
            # A search for “Cafe” also finds “Café”, but they are different names.
            if collision_key(other.name) == collision_key(name):
                which = "an archived collection" if other.archived_at else "a collection"
                raise ValidationError(f"Your team already has {which} named “{other}”.")
        return name


class AddForm(CollectionNameForm):
    """A new collection."""

    class Meta:
        model = Collection
        fields = ["name", "kind"]
        error_messages = _NAME_REQUIRED
        help_texts = {"kind": "What the runs of this collection scrape. You can't change it later."}


class RenameForm(CollectionNameForm, ChangeNameForm):
    """A new name for a collection."""

    class Meta:
        model = Collection
        fields = ["name"]
        error_messages = _NAME_REQUIRED
        help_texts = {"name": "Existing files keep their names."}


class _AccountChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # as in forms.py
    def label_from_instance(self, obj: Any) -> str:
        return str(obj) if obj.is_connected else f"{obj} (disconnected)"


class ConnectForm(CollectionNameForm):
    """A collection of a MultiCartAPI account."""

    account = _AccountChoice(
        queryset=Account.objects.none(),
        empty_label=None,
        error_messages={
            "required": "Choose an account.",
            "invalid_choice": "Your team has no such account. It may have been removed.",
        },
    )
    remote_id = forms.IntegerField(
        label="MultiCartAPI ID",
        min_value=1,
        max_value=_LARGEST_ID,
        help_text="The ID of the collection at MultiCartAPI.",
        error_messages={
            "required": "Enter the collection's ID at MultiCartAPI.",
            "invalid": "Enter the collection's ID at MultiCartAPI. It is a number.",
            "min_value": "IDs at MultiCartAPI start at 1.",
            "max_value": "This ID is too large for MultiCartAPI.",
        },
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "numeric"}),
    )

    class Meta:
        model = Collection
        fields = ["name", "kind"]
        error_messages = _NAME_REQUIRED
        help_texts = {
            "name": "The name of the collection here.",
            "kind": "What the collection scrapes at MultiCartAPI. You can't change it later.",
        }

    field_order = ["account", "remote_id", "name", "kind"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["account"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = self.instance.team.accounts.order_by("name")

    def clean(self) -> dict[str, Any]:
        """Reject a disconnected account, and a collection that was already added."""
        fields = self.cleaned_data
        account, remote_id = fields.get("account"), fields.get("remote_id")
        if account and not account.is_connected:
            self.add_error(
                "account", f"The account “{account}” is disconnected. Enter a new key for it under Accounts."
            )
        elif account and remote_id:
            self._reject_duplicate(account, remote_id)
            self.instance.account, self.instance.remote_id = account, remote_id
        return fields

    def _reject_duplicate(self, account: Account, remote_id: int) -> None:
        other = account.collections.filter(remote_id=remote_id).first()
        if other:
            which = "the archived collection" if other.archived_at else "the collection"
            self.add_error("remote_id", f"Your team has already added it as {which} “{other}”.")
