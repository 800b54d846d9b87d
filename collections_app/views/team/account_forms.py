"""What people fill in about accounts at MultiCartAPI. A key is never shown again, not even in an error."""

import re
from itertools import chain, count
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.text import get_text_list

from collections_app.models import Account, Collection, Team
from collections_app.views.forms import CollectionNameForm, NameForm

_USUAL_NAME = "MultiCartAPI"
_LONGEST_KEY = 500
_LARGEST_ID = 2**63 - 1  # more than that makes the database raise

# Nothing but a server and a plain path: no user name, no query, no fragment, nothing quoted.
_BASE_URL = re.compile(r"(?ai)(?P<origin>https?://[\w.-]+(:\d+)?)(?P<path>(/[\w.~-]+)*)/*")


def base_address(text: str) -> str:
    """Return the address that an account's calls begin with, as it is stored.

    Raises ValidationError for what is no such address, and for a server that this site must not call.
    """
    match = _BASE_URL.fullmatch(text)
    if match is None or {".", ".."} & set(match["path"].split("/")):
        raise ValidationError(
            f"Give an address such as {Account.DEFAULT_BASE_URL}: a server and a plain path, "
            "without a user name, a question mark or a #."
        )
    origin = next((each for each in settings.UPSTREAM_ORIGINS if _same(each, match["origin"])), None)
    if origin is None:
        raise ValidationError(
            f"This site calls only {get_text_list(settings.UPSTREAM_ORIGINS, 'and')}. "
            "The operator can add other servers with the setting UPSTREAM_ORIGINS."
        )
    return f"{origin}{match['path']}"


def _same(origin: str, other: str) -> bool:
    return _with_port(origin) == _with_port(other)


def _with_port(origin: str) -> str:
    scheme, _, server = origin.lower().partition("://")
    host, _, port = server.partition(":")
    return f"{scheme}://{host}:{int(port) if port else 443 if scheme == 'https' else 80}"


def _usual_address() -> str:
    """Return the address that a new account has most likely."""
    vendors = any(Account.DEFAULT_BASE_URL.startswith(f"{each}/") for each in settings.UPSTREAM_ORIGINS)
    return Account.DEFAULT_BASE_URL if vendors else f"{settings.UPSTREAM_ORIGINS[0]}/api/v1"


def _free_name(team: Team) -> str:
    """Return a name for a new account that no other one of the team has."""
    taken = {account.name.casefold() for account in team.accounts.all()}
    further = (f"{_USUAL_NAME} {number}" for number in count(2))
    return next(name for name in chain([_USUAL_NAME], further) if name.casefold() not in taken)


class AccountForm(NameForm):
    """An account: a new one, or another name or key for one that is there."""

    key = forms.CharField(
        label="API key",
        max_length=_LONGEST_KEY,
        validators=[
            RegexValidator(
                r"\A[\x21-\x7e]*\Z",
                "A key has neither blanks nor accents. Copy it anew, without what stands around it.",
            )
        ],
        error_messages={"required": "Give the account's API key."},
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    class Meta:
        model = Account
        fields = ["name", "base_url"]
        labels = {"base_url": "Base address"}
        error_messages = {
            "name": {"required": "Give the account a name."},
            "base_url": {"required": "Give the address that the account's calls begin with."},
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["base_url"].widget.attrs |= {"autocomplete": "off", "inputmode": "url"}
        if self.instance.pk:
            key = self.fields["key"]
            key.required = not self.instance.is_connected
            key.help_text = "Leave it empty to keep the key that is stored." if not key.required else ""
        else:
            self.initial.update(name=_free_name(self.instance.team), base_url=_usual_address())
            self.fields["name"].help_text = "What your team calls the account."
            self.fields["key"].help_text = "It is stored encrypted, and never shown again."

    def clean_name(self) -> str:
        """Refuse the name of another account of the team, in any case."""
        name: str = self.cleaned_data["name"]
        for other in self.instance.team.accounts.exclude(pk=self.instance.pk):
            if other.name.casefold() == name.casefold():
                raise ValidationError(f"There is an account named “{other}” already.")
        return name

    def clean_base_url(self) -> str:
        """Return the address as it is stored."""
        return base_address(self.cleaned_data["base_url"])

    def clean(self) -> dict[str, Any]:
        """Refuse to send the stored key to another address: who changes the address knows the key."""
        fields = self.cleaned_data
        address = fields.get("base_url", self.initial["base_url"])
        if "key" in fields and not fields["key"] and address != self.initial["base_url"]:
            self.add_error("key", "Enter the key as well: a stored key is not sent to another address.")
        return fields

    def save(self, commit: bool = True) -> Any:  # noqa: FBT001, FBT002  # as Django has it
        """Save a new account; of one that is there the name, and with a key what the key was tried with."""
        account: Account = super().save(commit=False)
        changed = ["name"]
        if self.cleaned_data["key"]:
            account.set_key(self.cleaned_data["key"])
            changed += ["base_url", "encrypted_key", "key_ending"]
        account.save(update_fields=changed if account.pk else None)
        return account


class _AccountChoice(forms.ModelChoiceField):  # type: ignore[type-arg]  # as in forms.py
    def label_from_instance(self, obj: Any) -> str:
        return str(obj) if obj.is_connected else f"{obj} (disconnected)"


class CollectionOfAccountForm(CollectionNameForm):
    """A collection whose runs are those of a collection at an account."""

    account = _AccountChoice(
        queryset=Account.objects.none(),
        empty_label=None,
        error_messages={
            "required": "Choose an account.",
            "invalid_choice": "Your team has no such account. It may have been removed.",
        },
    )
    remote_id = forms.IntegerField(
        label="MultiCartAPI id",
        min_value=1,
        max_value=_LARGEST_ID,
        help_text="The number of the collection at MultiCartAPI.",
        error_messages={
            "required": "Give the collection's id at MultiCartAPI.",
            "invalid": "Give the collection's id at MultiCartAPI: a whole number.",
            "min_value": "An id at MultiCartAPI is at least 1.",
            "max_value": "An id at MultiCartAPI is not that large.",
        },
        widget=forms.TextInput(attrs={"autocomplete": "off", "inputmode": "numeric"}),
    )

    class Meta:
        model = Collection
        fields = ["name", "kind"]
        error_messages = {"name": {"required": "Give the collection a name."}}
        help_texts = {
            "name": "What it is called here.",
            "kind": "What the collection scrapes at MultiCartAPI. It can't be changed later.",
        }

    field_order = ["account", "remote_id", "name", "kind"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["account"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = self.instance.team.accounts.order_by("name")

    def clean(self) -> dict[str, Any]:
        """Refuse an account that can't be asked, and a collection that is there already."""
        fields = self.cleaned_data
        account, remote_id = fields.get("account"), fields.get("remote_id")
        if account and not account.is_connected:
            self.add_error(
                "account",
                f"The account “{account}” is disconnected. Give it a new key first, under Accounts.",
            )
        elif account and remote_id:
            self._refuse_one_that_is_there(account, remote_id)
            self.instance.account, self.instance.remote_id = account, remote_id
        return fields

    def _refuse_one_that_is_there(self, account: Account, remote_id: int) -> None:
        other = account.collections.filter(remote_id=remote_id).first()
        if other:
            which = "the archived collection" if other.archived_at else "the collection"
            self.add_error("remote_id", f"This is {which} “{other}” already.")
