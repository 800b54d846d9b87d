"""The admin, for operators: add teams, users and owners. Teams manage themselves in the dashboard.

Runs, files, API keys and roles can only be viewed here, because editing them would bypass the site's checks.
"""

from typing import Any

import allauth.account.admin  # noqa: F401  # registers what is unregistered below
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
    SavedExport,
    Team,
    User,
)

# Permissions depend on roles in teams, not on groups. Email addresses belong to users.
admin.site.unregister([Group, EmailAddress])


class KeptAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # Django's own can't be subscripted
    """Rows that can't be deleted, because that would bypass checks or leave files behind."""

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001
        """Save the row. Of an existing row, save only what was edited, as the rest may have changed since."""
        obj.save(update_fields=form.changed_data if change else None)


class ReadOnlyAdmin(KeptAdmin):
    """Rows that can only be viewed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Return False."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False


class _LowerCaseEmail:
    """Normalizes the email address of a user form, so that duplicates in another case are found."""

    cleaned_data: dict[str, Any]

    def clean_email(self) -> str:
        """Return the normalized address."""
        return User.objects.normalize_email(self.cleaned_data["email"])


class NewUserForm(_LowerCaseEmail, AdminUserCreationForm):  # type: ignore[type-arg]
    """A new user, with or without a password."""

    class Meta:
        model = User
        fields = ["email", "name"]


class UserForm(_LowerCaseEmail, UserChangeForm):  # type: ignore[type-arg]
    """A user."""

    class Meta:
        model = User
        fields = ["email", "name", "is_active", "is_staff", "is_superuser"]


class PasswordForm(AdminPasswordChangeForm):  # type: ignore[type-arg]
    """A user's new password."""

    def save(self, commit: bool = True) -> User:  # noqa: FBT001, FBT002  # Django's signature
        """Save only the password."""
        user: User = super().save(commit=False)
        user.save(update_fields=["password"])
        return user


@admin.register(User)
class UserAdmin(KeptAdmin, DjangoUserAdmin):  # type: ignore[type-arg]
    """Users. They are deactivated, not deleted, so that no team loses its last owner."""

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
        """Save the user. If the email address has changed, remove the old one from allauth."""
        super().save_model(request, obj, form, change)
        if change and "email" in form.changed_data:
            EmailAddress.objects.filter(user_id=obj.pk).delete()


@admin.register(Team)
class TeamAdmin(KeptAdmin):
    """Teams. Their owners and admins choose the time zone."""

    exclude = ["time_zone"]
    list_display = ["name", "members", "created_at"]
    search_fields = ["name"]
    ordering = ["name"]
    readonly_fields = ["created_at"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Team]:
        """Return the teams with their numbers of members."""
        teams: QuerySet[Team] = super().get_queryset(request)
        return teams.annotate(member_count=Count("memberships"))

    @admin.display(description="Members", ordering="member_count")
    def members(self, team: Any) -> int:
        """Return the number of members."""
        return int(team.member_count)


@admin.register(Membership)
class MembershipAdmin(KeptAdmin):
    """Memberships. Operators add owners, who manage the other members."""

    list_display = ["user", "team", "role", "created_at"]
    list_filter = ["role"]
    list_select_related = ["user", "team"]
    search_fields = ["user__email", "team__name"]
    raw_id_fields = ["user", "team"]
    readonly_fields = ["created_at"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False."""
        return False


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnlyAdmin):
    """API keys. They can be revoked."""

    fields = ["prefix", "name", "owner", "created_at", "last_used_at", "revoked_at"]
    list_display = ["prefix", "name", "owner", "created_at", "last_used_at", "revoked_at"]
    list_select_related = ["membership__user", "membership__team"]
    search_fields = ["prefix", "name", "membership__user__email", "membership__team__name"]
    actions = ["revoke"]

    @admin.display(description="Owner", ordering="membership__user__email")
    def owner(self, key: ApiKey) -> str:
        """Return the owner."""
        return str(key.membership)

    @admin.action(description="Revoke selected API keys")
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        """Revoke the keys."""
        for key in keys:
            key.revoke()
        self.message_user(request, f"Revoked {len(keys)} API key{pluralize(len(keys))}.", messages.SUCCESS)


@admin.register(Account)
class AccountAdmin(ReadOnlyAdmin):
    """Accounts at MultiCartAPI, without their keys."""

    fields = ["name", "team", "base_url", "connected", "created_at"]
    list_display = ["name", "team", "base_url", "connected", "created_at"]
    list_select_related = ["team"]
    search_fields = ["name", "base_url", "team__name"]
    ordering = ["-pk"]

    @admin.display(boolean=True, description="Connected")
    def connected(self, account: Account) -> bool:
        """Return whether the account has a key."""
        return account.is_connected


@admin.register(Collection)
class CollectionAdmin(KeptAdmin):
    """Collections. The type can't be changed, because it determines the files."""

    list_display = ["name", "team", "kind", "account", "last_run_number", "created_at", "archived_at"]
    list_filter = ["kind"]
    list_select_related = ["team", "account"]
    search_fields = ["name", "team__name"]
    raw_id_fields = ["team"]
    ordering = ["-pk"]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        """Return the read-only fields. Only the name of an existing collection can be changed."""
        fields = ["owner", "account", "remote_id", "refreshed_at", "refresh_problem"]
        fields += ["last_run_number", "created_at", "archived_at"]
        return ["team", "kind", *fields] if obj else fields


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """Runs."""

    list_display = ["number", "collection", "state", "extracted", "total", "file_count", "created_at"]
    list_filter = ["state"]
    list_select_related = ["collection"]
    search_fields = ["collection__name"]
    ordering = ["-pk"]
    # Counting millions of rows is slow.
    show_full_result_count = False


@admin.register(ResultFile)
class ResultFileAdmin(ReadOnlyAdmin):
    """Result files."""

    list_display = ["name", "run", "kind", "position", "size", "records", "modified"]
    list_filter = ["kind"]
    list_select_related = ["run"]
    search_fields = ["name"]
    ordering = ["-pk"]
    show_full_result_count = False


@admin.register(SavedExport)
class SavedExportAdmin(ReadOnlyAdmin):
    """Saved exports."""

    list_display = ["name", "collection", "format", "created_by", "created_at"]
    list_filter = ["format"]
    list_select_related = ["collection", "created_by"]
    search_fields = ["name"]
    ordering = ["-pk"]
    show_full_result_count = False


@admin.register(Export)
class ExportAdmin(ReadOnlyAdmin):
    """Exports."""

    list_display = ["run", "layout", "format", "state", "done", "total", "size", "created_at", "used_at"]
    list_filter = ["state", "format"]
    list_select_related = ["run"]
    ordering = ["-pk"]
    show_full_result_count = False
