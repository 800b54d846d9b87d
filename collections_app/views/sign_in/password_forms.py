"""The forms that set a password: allauth's, with our own messages."""

from typing import Any

from allauth.account import forms as allauth_forms
from django import forms

from collections_app.models import User
from collections_app.people.password_links import invited_to

_RULES = "Use at least 8 characters. Don't use only digits, a common password, or your name or email."
_DIFFERENT = "The two passwords differ. Enter the same password twice."


class _NewPassword(forms.Form):
    """The fields of a new password."""

    user: User

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name, label in {"password1": "New password", "password2": "Repeat new password"}.items():
            self.fields[name].label = label
            self.fields[name].error_messages["required"] = "Enter the new password twice."
        self.fields["password1"].help_text = _RULES

    def clean(self) -> dict[str, Any]:
        """Reject two different passwords."""
        data = forms.Form.clean(self) or {}
        first, second = data.get("password1"), data.get("password2")
        if first and second and first != second:
            self.add_error("password2", _DIFFERENT)
        return data


class SetPasswordForm(_NewPassword, allauth_forms.ResetPasswordKeyForm):  # type: ignore[misc]
    """The new password of a user with a password link."""

    def invited_to(self) -> str:
        """Return the teams that the user was added to, if they never had a password."""
        return invited_to(self.user)


class ChangePasswordForm(_NewPassword, allauth_forms.ChangePasswordForm):  # type: ignore[misc]
    """The new password of a signed-in user."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["oldpassword"].label = "Current password"
        self.fields["oldpassword"].error_messages["required"] = "Enter your current password."
