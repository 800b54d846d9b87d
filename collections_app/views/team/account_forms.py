"""The form for MultiCartAPI accounts. A key is never shown again, not even in an error."""

import re
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils.text import get_text_list

from collections_app.files.names import namesake
from collections_app.models import Account
from collections_app.records.tracking.slice_queue import MOST_REMOTE
from collections_app.views.forms import NameForm, free_name

_DEFAULT_NAME = "MultiCartAPI"
_LONGEST_KEY = 500

# A server and a plain path: no user name, query, fragment or escapes.
_BASE_URL = re.compile(r"(?ai)(?P<origin>https?://[\w.-]+(:\d+)?)(?P<path>(/[\w.~-]+)*)/*")


def base_address(text: str) -> str:
    """Return a base address in its stored form.

    Raises ValidationError for an invalid address, and for a server that this site must not call.
    """
    match = _BASE_URL.fullmatch(text)
    if match is None or {".", ".."} & set(match["path"].split("/")):
        raise ValidationError(
            f"That isn't a valid base address. Enter a server and a path, such as {Account.DEFAULT_BASE_URL}."
        )
    origin = next((each for each in settings.UPSTREAM_ORIGINS if _is_same(each, match["origin"])), None)
    if origin is None:
        raise ValidationError(
            f"This site only calls {get_text_list(settings.UPSTREAM_ORIGINS, 'and')}. "
            "The operator can add servers with the setting UPSTREAM_ORIGINS."
        )
    return f"{origin}{match['path']}"


def _is_same(origin: str, other: str) -> bool:
    return _with_port(origin) == _with_port(other)


def _with_port(origin: str) -> str:
    scheme, _, server = origin.lower().partition("://")
    host, _, port = server.partition(":")
    return f"{scheme}://{host}:{int(port) if port else 443 if scheme == 'https' else 80}"


def _default_address() -> str:
    """Return the most likely base address of a new account."""
    is_allowed = any(Account.DEFAULT_BASE_URL.startswith(f"{each}/") for each in settings.UPSTREAM_ORIGINS)
    return Account.DEFAULT_BASE_URL if is_allowed else f"{settings.UPSTREAM_ORIGINS[0]}/api/v1"


class AccountForm(NameForm):
    """A new account, or the name, key and address of an existing one."""

    key = forms.CharField(
        label="API key",
        max_length=_LONGEST_KEY,
        validators=[
            RegexValidator(
                r"\A[\x21-\x7e]*\Z",
                "That isn't a valid API key. Keys contain only letters, digits and symbols.",
            )
        ],
        error_messages={"required": "Enter the account's API key."},
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    field_order = ["name", "base_url", "key", "tracks_runs"]

    class Meta:
        model = Account
        fields = ["name", "base_url", "tracks_runs"]
        labels = {"base_url": "Base address", "tracks_runs": "Compare new runs"}
        help_texts = {
            "tracks_runs": (
                f"Downloads the records of each collection's {MOST_REMOTE} newest runs, one run at a time. "
                "Other runs are downloaded when someone compares them."
            )
        }
        error_messages = {
            "name": {"required": "Enter a name for the account."},
            "base_url": {"required": "Enter the account's base address."},
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["base_url"].widget.attrs |= {"autocomplete": "off", "inputmode": "url"}
        if self.instance.pk:
            key = self.fields["key"]
            key.required = not self.instance.is_connected
            key.help_text = "Leave empty to keep the stored key." if not key.required else ""
        else:
            names = self.instance.team.accounts.values_list("name", flat=True)
            self.initial.update(name=free_name(_DEFAULT_NAME, names), base_url=_default_address())
            self.fields["name"].help_text = "The name your team uses for this account."
            self.fields["key"].help_text = "Stored encrypted and never shown again."

    def clean_name(self) -> str:
        """Reject the name of another account of the team, ignoring case and Unicode forms."""
        name: str = self.cleaned_data["name"]
        other = namesake(name, self.instance.team.accounts.exclude(pk=self.instance.pk))
        if other is not None:
            raise ValidationError(f"Your team already has an account named “{other}”.")
        return name

    def clean_base_url(self) -> str:
        """Return the address in its stored form."""
        return base_address(self.cleaned_data["base_url"])

    def clean(self) -> dict[str, Any]:
        """Require the key for a new address, so that only someone who knows the key can send it there."""
        fields = self.cleaned_data
        address = fields.get("base_url", self.initial["base_url"])
        if "key" in fields and not fields["key"] and address != self.initial["base_url"]:
            self.add_error("key", "Enter the key as well. The stored key is not sent to a new address.")
        return fields

    def save(self, commit: bool = True) -> Any:  # noqa: FBT001, FBT002  # Django's signature
        """Save a new account. Of an existing one, save the address only along with a key."""
        account: Account = super().save(commit=False)
        changed = ["name", "tracks_runs"]
        if self.cleaned_data["key"]:
            account.set_key(self.cleaned_data["key"])
            changed += ["base_url", "encrypted_key", "key_ending"]
        account.save(update_fields=changed if account.pk else None)
        return account
