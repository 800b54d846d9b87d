"""The messages of Django's forms."""

import pytest
from django import forms
from django.test import Client

WORDS_OF_DJANGO = ["This field", "Ensure this value", "Select a valid", "Null characters"]


@pytest.mark.parametrize("value", ["", "x" * 20, "\0"])
def test_a_form_says_what_to_do_in_our_words(value: str) -> None:
    class Form(forms.Form):
        name = forms.CharField(max_length=3)
        choice = forms.ChoiceField(choices=[("a", "A")])
        email = forms.EmailField()

    errors = str(Form({"name": value, "choice": value, "email": value}).errors)
    assert [words for words in WORDS_OF_DJANGO if words in errors] == []


@pytest.mark.django_db
def test_the_sign_in_form_says_what_to_do(client: Client) -> None:
    page = client.post("/accounts/login/", {}).content.decode()
    assert page.count("Fill in this field.") == 2
