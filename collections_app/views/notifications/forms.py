"""The forms of channels and rules. A URL is never shown again, not even in an error."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.core.validators import MaxValueValidator

from collections_app.models import Channel, ChannelKind, EventKind, Membership, Rule
from collections_app.models.validators import NAME_VALIDATORS
from collections_app.outgoing import guard
from collections_app.outgoing.webhook import new_secret
from collections_app.people import access
from collections_app.people.access import Action
from collections_app.system import encryption
from collections_app.views.forms import NameForm

# What rules can notify of, in the order of the form.
NOTIFIABLE = (
    EventKind.RUN_FAILED,
    EventKind.RUN_STALLED,
    EventKind.COLLECTION_LATE,
    EventKind.RUN_BROKEN,
    EventKind.RUN_EMPTY,
    EventKind.RUN_INCOMPLETE,
    EventKind.COLLECTION_RECOVERED,
    EventKind.ACCOUNT_UNAVAILABLE,
    EventKind.ACCOUNT_RECOVERED,
    EventKind.RUN_COMPLETED,
)
# A new channel's first rule has all of them except completed runs, which are no news.
PROBLEMS = NOTIFIABLE[:-1]
_MOST_REPEATS = 1000


class ChannelForm(forms.Form):
    """A new channel, or the name, URL and digest of an existing one."""

    kind = forms.ChoiceField(label="Type", choices=ChannelKind.choices)
    name = forms.CharField(
        label="Name",
        max_length=100,
        validators=NAME_VALIDATORS,
        error_messages={"required": "Enter a name for the channel."},
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    url = forms.CharField(
        label="URL",
        required=False,
        max_length=guard.LONGEST_URL,
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    digest_hour = forms.TypedChoiceField(
        label="Send",
        required=False,
        choices=[("", "At once"), *((str(hour), f"Daily at {hour:02}:00") for hour in range(24))],
        coerce=int,
        empty_value=None,
    )

    def __init__(self, data: Any, membership: Membership, channel: Channel | None = None) -> None:
        self.channel = channel or Channel(team=membership.team)
        self._membership = membership
        initial = {
            "kind": self.channel.kind,
            "name": self.channel.name,
            "digest_hour": self.channel.digest_hour,
        }
        super().__init__(data, initial=initial)
        kind, url = self.fields["kind"], self.fields["url"]
        if channel:
            del self.fields["kind"]
            url.help_text = f"Leave empty to keep the stored URL at {channel.host}."
        elif access.may(membership, Action.MANAGE_CHANNELS):
            kind.help_text = f"Email goes to {membership.user.email}."
            url.help_text = "Where to send, except for email. Stored encrypted and never shown again."
        else:
            kind.choices = [(ChannelKind.EMAIL.value, ChannelKind.EMAIL.label)]  # type: ignore[attr-defined]
        if self._kind_is_fixed_to_email(channel):
            del self.fields["url"]
        self.fields["digest_hour"].help_text = f"In {membership.team}'s time zone."

    def _kind_is_fixed_to_email(self, channel: Channel | None) -> bool:
        if channel:
            return channel.kind == ChannelKind.EMAIL
        return not access.may(self._membership, Action.MANAGE_CHANNELS)

    def clean(self) -> dict[str, Any]:
        """Check the URL, and that a member has one email channel."""
        fields = self.cleaned_data
        kind = self.channel.kind or fields.get("kind")
        if kind == ChannelKind.EMAIL:
            self._check_email()
        elif kind and "url" in fields and (fields["url"] or not self.channel.pk):
            self._check_url(fields["url"])
        return fields

    def _check_email(self) -> None:
        others = Channel.objects.filter(member=self._membership).exclude(pk=self.channel.pk)
        if not self.channel.pk and others.exists():
            self.add_error("kind", "You already have a channel for your email address.")

    def _check_url(self, url: str) -> None:
        if not url:
            self.add_error("url", "Enter the URL to send to.")
            return
        try:
            self.channel.host = guard.check(url).host
        except guard.Refused as error:
            self.add_error("url", str(error))

    def save(self) -> str:
        """Save the channel. Return the signing key of a new webhook, which is shown once, or ""."""
        channel, fields, secret = self.channel, self.cleaned_data, ""
        if not channel.pk:
            channel.kind = fields["kind"]
            channel.created_by_name = self._membership.user.email
            if channel.kind == ChannelKind.EMAIL:
                channel.member = self._membership
        if fields.get("url") and channel.kind != ChannelKind.EMAIL:
            channel.encrypted_url = encryption.encrypt(fields["url"])
        if not channel.pk and channel.kind == ChannelKind.WEBHOOK:
            secret = new_secret()
            channel.encrypted_secret = encryption.encrypt(secret)
        channel.name, channel.digest_hour = fields["name"], fields["digest_hour"]
        channel.save()
        return secret


def add_first_rule(channel: Channel) -> Rule:
    """Give a new channel a sensible rule: the problems of all collections, and their ends."""
    kinds = [*PROBLEMS, EventKind.RUN_COMPLETED] if channel.kind == ChannelKind.WEBHOOK else PROBLEMS
    name = "All events" if channel.kind == ChannelKind.WEBHOOK else "Problems"
    return Rule.objects.create(team=channel.team, channel=channel, name=name, kinds=[*map(str, kinds)])


class RuleForm(NameForm):
    """A rule: which events of which collections."""

    kinds = forms.MultipleChoiceField(
        label="Notify when",
        choices=[(kind.value, kind.label) for kind in NOTIFIABLE],
        widget=forms.CheckboxSelectMultiple,
        error_messages={
            "required": "Choose at least one event.",
            "invalid_choice": "Choose events from the list.",
        },
    )

    class Meta:
        model = Rule
        fields = ["name", "is_on", "kinds", "collections_like", "repeat_every"]
        labels = {
            "is_on": "On",
            "collections_like": "Only collections whose names contain",
            "repeat_every": "While a problem lasts, repeat after this many runs",
        }
        help_texts = {
            "collections_like": "Leave empty for all collections.",
            "repeat_every": "0: not before the collection has recovered.",
        }
        error_messages = {"name": {"required": "Enter a name for the rule."}}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        most = f"Enter a whole number from 0 to {_MOST_REPEATS:,}."
        repeat = self.fields["repeat_every"]
        repeat.validators.append(MaxValueValidator(_MOST_REPEATS, most))
        repeat.error_messages |= {"invalid": most, "min_value": most, "required": most}
        repeat.widget = forms.TextInput(attrs={"autocomplete": "off", "inputmode": "numeric"})
        self.fields["collections_like"].widget.attrs["autocomplete"] = "off"

    def clean_name(self) -> str:
        """Reject a rule beyond the maximum of the team."""
        rule: Rule = self.instance
        if not rule.pk and Rule.objects.filter(team=rule.team_id).count() >= Rule.MOST:
            raise ValidationError(f"Your team has {Rule.MOST} rules, the maximum. Remove one first.")
        name: str = self.cleaned_data["name"]
        return name
