"""Users, teams, memberships, and the API keys of scripts."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models, transaction
from django.db.models.functions import Lower
from django.utils import timezone

from collections_app.models.time_zones import UTC, is_time_zone
from collections_app.models.validators import NAME_VALIDATORS
from collections_app.system import disk


class UserManager(BaseUserManager["User"]):
    """Creates users. Email addresses are stored in lower case, so that they are unique in any case."""

    @classmethod
    def normalize_email(cls, email: str | None) -> str:
        """Return the address in lower case, without surrounding spaces."""
        return (email or "").strip().lower()

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create a user. A user without a password needs a password link to sign in."""
        user = self.model(email=self.normalize_email(email), **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        """Create an operator: a user who may use the admin."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> "User":
        """Return the user with this email address, in any case."""
        return self.get(email=self.normalize_email(username))


class User(AbstractBaseUser, PermissionsMixin):
    """A person who signs in with an email address."""

    email = models.EmailField(
        unique=True, error_messages={"unique": "A user with this email address already exists."}
    )
    name = models.CharField(max_length=100, blank=True, validators=NAME_VALIDATORS)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField("operator", default=False, help_text="May use the admin pages.")
    date_joined = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        constraints = [models.UniqueConstraint(Lower("email"), name="user_email_unique_in_any_case")]

    def __str__(self) -> str:
        return self.email

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the user with the address in lower case."""
        self.email = UserManager.normalize_email(self.email)
        super().save(*args, **kwargs)

    def get_full_name(self) -> str:
        """Return the name, or the email address if there is no name."""
        return self.name or self.email

    def get_short_name(self) -> str:
        """Return the first word of the name, or the part of the email address before the @."""
        return self.name.split(" ")[0] or self.email.partition("@")[0]


class Team(models.Model):
    """The owner of collections, accounts and API keys. Its members are users."""

    name = models.CharField(max_length=100, validators=NAME_VALIDATORS)
    time_zone = models.CharField(max_length=60, default=UTC, validators=[is_time_zone])
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [models.CheckConstraint(condition=~models.Q(name=""), name="team_has_a_name")]

    def __str__(self) -> str:
        return self.name


class Role(models.TextChoices):
    """A member's role in a team. people/access.py decides what it allows."""

    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    MEMBER = "member", "Member"


class LastOwner(Exception):
    """The change would leave the team without an owner who can sign in."""

    def __str__(self) -> str:
        return "This is the team's last owner. Make someone else an owner first."


class MembershipQuerySet(models.QuerySet["Membership"]):
    """Queries for memberships."""

    def by_role(self) -> "MembershipQuerySet":
        """Sort owners first, then admins, then members; by email address within a role."""
        rank = models.Case(
            models.When(role=Role.OWNER, then=0), models.When(role=Role.ADMIN, then=1), default=2
        )
        return self.order_by(rank, "user__email")


class Membership(models.Model):
    """A user's role in a team. The member's API keys are deleted with it."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.MEMBER)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    objects: ClassVar[models.Manager["Membership"]] = MembershipQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "team"], name="membership_once_per_team"),
            models.CheckConstraint(condition=models.Q(role__in=Role.values), name="membership_known_role"),
        ]

    def __str__(self) -> str:
        return f"{self.user} in {self.team} ({self.role})"

    def change_role(self, role: Role) -> None:
        """Change the member's role. Raises LastOwner."""
        with transaction.atomic():
            if role != Role.OWNER:
                self._refuse_the_last_owner()
            self.role = role
            self.save(update_fields=["role"])

    def remove(self) -> None:
        """Remove the member and their API keys from the team. Raises LastOwner."""
        with transaction.atomic():
            self._refuse_the_last_owner()
            # Keep anyone from making this member an owner of a collection in the meantime.
            Membership.objects.select_for_update().filter(pk=self.pk).first()
            self.delete()

    def _refuse_the_last_owner(self) -> None:
        """Raise LastOwner if no other active user owns the team."""
        # Locks the owners, so that two owners can't demote each other at the same time.
        owners = self.team.memberships.select_for_update().filter(role=Role.OWNER).order_by("pk")
        is_active = dict(owners.values_list("pk", "user__is_active"))
        if self.pk in is_active and not any(is_active[pk] for pk in is_active if pk != self.pk):
            raise LastOwner


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Queries for API keys."""

    def active(self) -> "ApiKeyQuerySet":
        """Return keys that work: not revoked, and of active users."""
        return self.filter(revoked_at=None, membership__user__is_active=True)


class ApiKeyManager(models.Manager.from_queryset(ApiKeyQuerySet)):  # type: ignore[misc]  # created at run time
    """Creates API keys."""

    def issue(self, membership: Membership, name: str) -> tuple["ApiKey", str]:
        """Create a key. Return it with its text, which isn't stored and can't be shown again."""
        prefix = secrets.token_hex(ApiKey.PREFIX_LENGTH // 2)
        text = f"{prefix}.{secrets.token_urlsafe(32)}"
        return self.create(
            membership=membership, name=name, prefix=prefix, digest=ApiKey.digest_of(text)
        ), text


class ApiKey(models.Model):
    """A key that lets a script act as the member who created it. Only its digest is stored."""

    PREFIX_LENGTH = 8
    MAX_TEXT_LENGTH = 200
    # The precision of last_used_at, so that a busy script doesn't cause a write on every call.
    USE_IS_NOTED_EVERY = timedelta(minutes=5)

    membership = models.ForeignKey(Membership, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100, validators=NAME_VALIDATORS)
    prefix = models.CharField(max_length=PREFIX_LENGTH)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)

    objects: ClassVar[ApiKeyManager] = ApiKeyManager()

    class Meta:
        verbose_name = "API key"
        ordering = ["-created_at", "-pk"]

    def __str__(self) -> str:
        return f"{self.prefix}… ({self.name})"

    @staticmethod
    def digest_of(text: str) -> str:
        """Return the digest of a key's text."""
        # A fast hash is enough, because 32 random bytes can't be guessed.
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    def revoke(self) -> None:
        """Revoke the key permanently. Does nothing if it is already revoked."""
        ApiKey.objects.filter(pk=self.pk, revoked_at=None).update(revoked_at=timezone.now())

    def note_use(self) -> None:
        """Update last_used_at unless it was updated within USE_IS_NOTED_EVERY."""
        now = timezone.now()
        if self.last_used_at is None or now - self.last_used_at >= self.USE_IS_NOTED_EVERY:
            with disk.best_effort(f"the use of key {self.prefix}"):
                ApiKey.objects.filter(pk=self.pk).update(last_used_at=now)
