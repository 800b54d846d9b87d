"""The settings of a team: its name and its time zone."""

from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from collections_app.models import Team
from collections_app.people.access import Action, MemberRequest, team_member
from collections_app.views.forms import NameForm, TimeZoneField, posted


class TeamForm(NameForm):
    """The team's name and time zone."""

    time_zone = TimeZoneField(
        help_text="Days begin at midnight in this time zone. Learned schedules use it from the next run on."
    )

    class Meta:
        model = Team
        fields = ["name", "time_zone"]
        error_messages = {"name": {"required": "Enter a name for the team."}}

    def save(self, commit: bool = True) -> Any:  # noqa: FBT001, FBT002  # Django's signature
        """Save only these fields, because other fields may have changed."""
        super().save(commit=False)
        self.instance.save(update_fields=["name", "time_zone"])
        return self.instance


@team_member(Action.MANAGE_TEAM)
@require_http_methods(["GET", "HEAD", "POST"])
def team_settings(request: MemberRequest) -> HttpResponse:
    """Show the form. On POST, save the settings of the current team."""
    team = Team.objects.get(pk=request.membership.team_id)
    form = TeamForm(posted(request), instance=team)
    if form.is_valid():
        form.save()
        messages.success(request, f"Saved the settings of {team}.")
        return redirect("team_settings")
    return render(request, "team/settings.html", {"form": form})
