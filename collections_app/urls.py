"""Every address of the app, in two groups: views for people, the API for scripts."""

from django.urls import path

from collections_app.views import health

people = [
    path("healthz", health.healthz, name="healthz"),
]

urlpatterns = [*people]
