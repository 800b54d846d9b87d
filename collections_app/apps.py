"""The app's registration."""

from django.apps import AppConfig


class CollectionsConfig(AppConfig):
    """Collections, their runs and the files of each run."""

    name = "collections_app"
    verbose_name = "Collections"
