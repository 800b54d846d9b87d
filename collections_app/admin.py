"""The operators' admin. What an edit would break (runs, files, keys, roles) can only be looked at.

Teams manage themselves in the dashboard; here operators add teams, users and owners.
"""

from typing import Any

import allauth.account.admin  # noqa: F401  # registers what is taken off below
from allauth.account.models import EmailAddress
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import AdminPasswordChangeForm, AdminUserCreationForm, UserChangeForm
from django.contrib.auth.models import Group
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import pluralize

from collections_app.models import (
    Account,
    ApiKey,
    Collection,
    Export,
    Membership,
    ResultFile,
    Run,
    Team,
    User,
)

# What somebody may do follows from the role in a team; an address is changed at its user.
admin.site.unregister([Group, EmailAddress])


class KeptAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django's own can't be subscripted
    """Rows whose deletion would break a rule, or leave files behind; of a row, what was changed is saved."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001
        """Save a new row, or of one that is there what was changed: the rest may have moved on since."""
        obj.save(update_fields=form.changed_data if change else None)


class LookedAtAdmin(KeptAdmin):
    """Rows that come about elsewhere."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Say no."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no."""
        return False


class _LowerCaseEmail:
    """Part of a user form: the address as it is stored, so that a second one in capitals is noticed."""

    cleaned_data: dict[str, Any]

    def clean_email(self) -> str:
        """Return the address as it is stored."""
        return User.objects.normalize_email(self.cleaned_data["email"])


class NewUserForm(_LowerCaseEmail, AdminUserCreationForm):  # type: ignore[type-arg]
    """A new user, with a password or without one."""

    class Meta:
        model = User
        fields = ["email", "name"]


class UserForm(_LowerCaseEmail, UserChangeForm):  # type: ignore[type-arg]
    """A user."""

    class Meta:
        model = User
        fields = ["email", "name", "is_active", "is_staff", "is_superuser"]


class PasswordForm(AdminPasswordChangeForm):  # type: ignore[type-arg]
    """Another password for a user, or none."""

    def save(self, commit: bool = True) -> User:  # noqa: FBT001, FBT002  # as Django has it
        """Save the password alone."""
        user: User = super().save(commit=False)
        user.save(update_fields=["password"])
        return user


@admin.register(User)
class UserAdmin(KeptAdmin, DjangoUserAdmin):  # type: ignore[type-arg]
    """Users. They are made inactive, not deleted: a team must not lose its last owner."""

    form = UserForm
    add_form = NewUserForm
    change_password_form = PasswordForm
    list_display = ["email", "name", "is_active", "is_staff", "date_joined", "last_login"]
    list_filter = ["is_active", "is_staff"]
    search_fields = ["email", "name"]
    ordering = ["email"]
    filter_horizontal = []
    readonly_fields = ["date_joined", "last_login"]
    fieldsets = [
        (None, {"fields": ["email", "name", "password"]}),
        ("Rights", {"fields": ["is_active", "is_staff", "is_superuser"]}),
        ("Dates", {"fields": ["date_joined", "last_login"]}),
    ]
    add_fieldsets = [(None, {"fields": ["email", "name", "usable_password", "password1", "password2"]})]

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: FBT001
        """Save the user; with another address, the old one opens nothing any more."""
        super().save_model(request, obj, form, change)
        if change and "email" in form.changed_data:
            EmailAddress.objects.filter(user_id=obj.pk).delete()


@admin.register(Team)
class TeamAdmin(KeptAdmin):
    """Teams."""

    list_display = ["name", "members", "created_at"]
    search_fields = ["name"]
    ordering = ["name"]
    readonly_fields = ["created_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        """Return the teams with the number of their members."""
        teams: QuerySet[Team] = super().get_queryset(request)
        return teams.annotate(member_count=Count("memberships"))

    @admin.display(description="Members", ordering="member_count")
    def members(self, team: Any) -> int:
        """Return how many people are in the team."""
        return int(team.member_count)


@admin.register(Membership)
class MembershipAdmin(KeptAdmin):
    """Who is in which team: owners can be added; the rest is up to the team."""

    list_display = ["user", "team", "role", "created_at"]
    list_filter = ["role"]
    list_select_related = ["user", "team"]
    search_fields = ["user__email", "team__name"]
    raw_id_fields = ["user", "team"]
    readonly_fields = ["created_at"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no."""
        return False


@admin.register(ApiKey)
class ApiKeyAdmin(LookedAtAdmin):
    """API keys, which can be revoked."""

    fields = ["prefix", "name", "owner", "created_at", "last_used_at", "revoked_at"]
    list_display = ["prefix", "name", "owner", "created_at", "last_used_at", "revoked_at"]
    list_select_related = ["membership__user", "membership__team"]
    search_fields = ["prefix", "name", "membership__user__email", "membership__team__name"]
    actions = ["revoke"]

    @admin.display(description="Of", ordering="membership__user__email")
    def owner(self, key: ApiKey) -> str:
        """Return whose key it is."""
        return str(key.membership)

    @admin.action(description="Revoke selected API keys")
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        """End the keys for good."""
        for key in keys:
            key.revoke()
        self.message_user(request, f"Revoked {len(keys)} API key{pluralize(len(keys))}.", messages.SUCCESS)


@admin.register(Account)
class AccountAdmin(LookedAtAdmin):
    """Accounts at MultiCartAPI, without their keys."""

    fields = ["name", "team", "base_url", "connected", "created_at"]
    list_display = ["name", "team", "base_url", "connected", "created_at"]
    list_select_related = ["team"]
    search_fields = ["name", "base_url", "team__name"]
    ordering = ["-pk"]

    @admin.display(boolean=True, description="Connected")
    def connected(self, account: Account) -> bool:
        """Return whether there is a key."""
        return account.is_connected


@admin.register(Collection)
class CollectionAdmin(KeptAdmin):
    """Collections. A type fits the files that are there, so it stays."""

    list_display = ["name", "team", "kind", "account", "last_run_number", "created_at", "archived_at"]
    list_filter = ["kind"]
    list_select_related = ["team", "account"]
    search_fields = ["name", "team__name"]
    raw_id_fields = ["team"]
    ordering = ["-pk"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return what can't be set; of a collection that is there, the name alone can be."""
        made = ["account", "remote_id", "refreshed_at", "refresh_problem"]
        made += ["last_run_number", "created_at", "archived_at"]
        return ["team", "kind", *made] if obj else made


@admin.register(Run)
class RunAdmin(LookedAtAdmin):
    """Runs."""

    list_display = ["number", "collection", "state", "extracted", "total", "file_count", "created_at"]
    list_filter = ["state"]
    list_select_related = ["collection"]
    search_fields = ["collection__name"]
    ordering = ["-pk"]
    # Counting millions of rows takes longer than showing a hundred.
    show_full_result_count = False


@admin.register(ResultFile)
class ResultFileAdmin(LookedAtAdmin):
    """Result files."""

    list_display = ["name", "run", "kind", "position", "size", "records", "modified"]
    list_filter = ["kind"]
    list_select_related = ["run"]
    search_fields = ["name"]
    ordering = ["-pk"]
    show_full_result_count = False


@admin.register(Export)
class ExportAdmin(LookedAtAdmin):
    """Runs' records in other formats."""

    list_display = ["run", "format", "state", "done", "total", "size", "created_at", "used_at"]
    list_filter = ["state", "format"]
    list_select_related = ["run"]
    ordering = ["-pk"]
    show_full_result_count = False
