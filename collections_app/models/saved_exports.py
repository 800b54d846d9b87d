"""Saved exports: columns, format and options that a team uses for each run of a collection."""

from typing import Any

from django.db import models, transaction
from django.utils import timezone
from django.utils.text import slugify

from collections_app.models.collections import Collection
from collections_app.models.teams import User
from collections_app.models.validators import NAME_VALIDATORS

LONGEST_NAME = 60
# The maximum per collection. All of them are in the menus of each run.
MOST_SAVED = 20
_LONGEST_SLUG = 70


class NotSaved(Exception):
    """An export can't be saved under this name. The message is for users."""


class SavedExport(models.Model):
    """An export that can be downloaded for each run of a collection. It belongs to the team.

    Scripts use its address, which consists of the slug and the format. Renaming changes neither.
    """

    collection = models.ForeignKey(Collection, on_delete=models.CASCADE, related_name="saved_exports")
    name = models.CharField(max_length=LONGEST_NAME, validators=NAME_VALIDATORS)
    slug = models.SlugField(max_length=_LONGEST_SLUG, db_index=False, editable=False)
    # These are the fields of an Export.
    format = models.CharField(max_length=10)
    columns = models.JSONField(default=list, help_text="The chosen columns in order. Empty means all.")
    excel = models.BooleanField("for spreadsheets", default=False)
    separator = models.CharField(max_length=1, default=",")
    search = models.CharField(max_length=200, blank=True)
    filters = models.JSONField(default=list)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ("name", "pk")
        constraints = [
            models.UniqueConstraint(fields=["collection", "slug"], name="saved_export_slug_once"),
            models.CheckConstraint(condition=~models.Q(name=""), name="saved_export_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def file_name(self) -> str:
        """The end of its address, below that of a run, such as "prices.xlsx"."""
        return f"{self.slug}.{self.format}"

    @staticmethod
    def save_as(name: str, collection: Collection, by: User, **fields: Any) -> "SavedExport":
        """Save an export under a new name. Raises NotSaved."""
        with transaction.atomic():
            others = _locked(collection)
            if len(others) >= MOST_SAVED:
                raise NotSaved(
                    f"This collection has {MOST_SAVED} saved exports, the maximum. Delete one first."
                )
            _check_name(name, others)
            slug = _unused_slug(name, {each.slug for each in others})
            saved = SavedExport.objects.create(
                name=name, collection=collection, slug=slug, created_by=by, **fields
            )
            _update_menu(collection)
            return saved

    def rename(self, name: str) -> None:
        """Save a new name. Raises NotSaved."""
        with transaction.atomic():
            _check_name(name, [each for each in _locked(self.collection) if each != self])
            self.name = name
            self.save(update_fields=["name"])
            _update_menu(self.collection)

    def remove(self) -> None:
        """Delete it."""
        with transaction.atomic():
            _locked(self.collection)
            self.delete()
            _update_menu(self.collection)


def _locked(collection: Collection) -> list[SavedExport]:
    """Return the saved exports of a collection. Until the transaction ends, no one else adds any."""
    Collection.objects.select_for_update().get(pk=collection.pk)
    return list(collection.saved_exports.all())


def _update_menu(collection: Collection) -> None:
    collection.export_menu = [(each.file_name, each.name) for each in collection.saved_exports.all()]
    collection.save(update_fields=["export_menu"])


def _check_name(name: str, others: list[SavedExport]) -> None:
    if name.casefold() in {each.name.casefold() for each in others}:
        raise NotSaved("This collection already has a saved export with this name. Choose another name.")


def _unused_slug(name: str, used: set[str]) -> str:
    slug = slugify(name)[: _LONGEST_SLUG - 3].strip("-") or "export"
    numbers = range(2, MOST_SAVED + 2)
    return next(each for each in (slug, *(f"{slug}-{number}" for number in numbers)) if each not in used)
