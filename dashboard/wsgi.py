"""The WSGI application that gunicorn serves."""

import os
from importlib import import_module

from django.conf import settings
from django.core.wsgi import get_wsgi_application

from collections_app.system import database

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.settings")

application = get_wsgi_application()
# Import all views before gunicorn forks, so that workers share the memory. Otherwise the first request of
# each worker would take a second longer.
import_module(settings.ROOT_URLCONF)
database.share_connections()
