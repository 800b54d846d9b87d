"""The WSGI application that gunicorn serves."""

import os
from importlib import import_module

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from collections_app.system import database

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

application = get_wsgi_application()
# All views: once, before the worker processes are forked, and in memory that they share. Django would load
# them in each by its first request, which is a second's work.
import_module(settings.ROOT_URLCONF)
database.share_connections()
