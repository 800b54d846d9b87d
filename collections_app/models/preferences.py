"""What users have chosen for themselves."""

from django.db import models

from collections_app.models.collections import Collection
from collections_app.models.teams import User


class Theme(models.TextChoices):
    """The colors of the pages."""

    SYSTEM = "system", "System"
    LIGHT = "light", "Light"
    DARK = "dark", "Dark"


class Preferences(models.Model):
    """A user's choices on all pages. A user without a row has the defaults."""

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="preferences")
    download_format = models.CharField(
        max_length=10, blank=True, help_text="The format of the user's last download from a menu."
    )
    theme = models.CharField(max_length=10, choices=Theme.choices, default=Theme.SYSTEM)

    class Meta:
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"Preferences of {self.user_id}"

    @staticmethod
    def of(user: User) -> "Preferences":
        """Return the user's preferences, or the defaults. A request loads them with its memberships."""
        try:
            return user.preferences
        except Preferences.DoesNotExist:
            return Preferences(user=user)


class CollectionPreferences(models.Model):
    """A user's choices for a collection. A user without a row has the defaults."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="collection_preferences")
    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="preferences")
    columns = models.JSONField(
        default=list, help_text="The columns of records to show. Empty means the default."
    )

    is_favorite = models.BooleanField(default=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "collection"], name="collection_preferences_once")
        ]
        verbose_name_plural = "collection preferences"

    def __str__(self) -> str:
        return f"Preferences of {self.user_id} for {self.collection_id}"

    @staticmethod
    def columns_of(user: User, collection: Collection) -> list[str]:
        """Return the columns that the user has chosen for a collection, or an empty list."""
        found = CollectionPreferences.objects.filter(user=user, collection=collection)
        return found.values_list("columns", flat=True).first() or []

    @staticmethod
    def favorites_of(user: User) -> models.QuerySet["CollectionPreferences"]:
        """Return the user's preferences for their favorite collections."""
        return CollectionPreferences.objects.filter(user=user, is_favorite=True)
