"""Check with an account before anything about it is saved."""

from collections.abc import Callable

from django.forms import ModelForm
from django.views.decorators.debug import sensitive_variables

from collections_app.models import NotConnected
from collections_app.sources import ResultNotFound, SourceUnavailable
from collections_app.sources.upstream import runs as upstream_runs
from collections_app.views.team.account_forms import AccountForm

SECONDS_TO_TRY = 5.0


def account_responds(form: ModelForm, call: Callable[[], object]) -> bool:  # type: ignore[type-arg]  # as in forms.py
    """Whether the call to the account succeeds. If not, add the reason to the form.

    Use it outside a transaction, so that nothing waits for someone else's server.
    """
    try:
        call()
    except (NotConnected, ResultNotFound, SourceUnavailable) as error:
        form.add_error(None, str(error))
        return False
    return True


@sensitive_variables("key")
def try_key(form: AccountForm) -> None:
    """Call the account with the key of the form."""
    base_url, key = form.cleaned_data["base_url"], form.cleaned_data["key"]
    upstream_runs.try_key(base_url, key, seconds=SECONDS_TO_TRY)


def is_still_valid(form: ModelForm) -> bool:  # type: ignore[type-arg]  # as in forms.py
    """Validate the form again, inside a transaction: data may have changed during the call to the account."""
    form.full_clean()
    return form.is_valid()
