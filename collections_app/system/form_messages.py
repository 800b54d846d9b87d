"""Replacements for the messages of Django's forms."""

from django import forms
from django.core import validators


def replace_messages() -> None:
    """Replace Django's messages in all forms that are defined later."""
    forms.Field.default_error_messages["required"] = "Fill in this field."
    for field in (forms.ChoiceField, forms.ModelChoiceField):
        field.default_error_messages["required"] = "Choose one of the options."
        field.default_error_messages["invalid_choice"] = "Choose one of the options."
    validators.MaxLengthValidator.message = (
        "Enter at most %(limit_value)d characters. You entered %(show_value)d."
    )
    validators.ProhibitNullCharactersValidator.message = "Remove the null characters."
