"""The settings, which come from environment variables.

docs/settings.md lists them; a test compares it with this file.
"""

import os
import re
import sys
from pathlib import Path
from urllib.parse import urlsplit

import environ
from cryptography.fernet import Fernet
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from collections_app.files.storage import storage_url
from collections_app.outgoing import guard
from collections_app.system import data_folder, database
from collections_app.system.observability import logs

BASE_DIR = Path(__file__).resolve().parent.parent

# A test compares it with pyproject.toml, which isn't in the image.
VERSION = "0.2.0"

env = environ.Env()


def _env_number(name: str, default: int, *, most: int) -> int:
    text = env.str(name, default="") or str(default)
    if not text.isdecimal() or not 0 < int(text) <= most:
        raise ImproperlyConfigured(f"{name} is {text!r}; it must be a number from 1 to {most}.")
    return int(text)


DEBUG = env.bool("DEBUG", default=False)

# Whether the site continuously writes runs of the demo.
DEMO_LIVE = env.bool("DEMO_LIVE", default=False)

# Where gunicorn listens, and its processes and threads.
HOST = env.str("HOST", default="") or "127.0.0.1"
PORT = _env_number("PORT", 8000, most=65535)
WEB_CONCURRENCY = _env_number("WEB_CONCURRENCY", min(os.cpu_count() or 1, 8), most=1000)
WEB_THREADS = _env_number("WEB_THREADS", 300, most=10_000)

# What sends stored files: the site, or nginx in front of it (deploy/nginx.conf).
DELIVERY = env.str("DELIVERY", default="") or "app"
if DELIVERY not in {"app", "nginx"}:
    raise ImproperlyConfigured(f"DELIVERY is {DELIVERY!r}; it must be app or nginx.")

# The folder of the database, the results and the generated secrets.
DATA_DIR = data_folder.prepare(Path(env.str("DATA_DIR", default="") or BASE_DIR / "var").resolve())

SECRET_KEY = env.str("SECRET_KEY", default="") or data_folder.get_or_create_secret(DATA_DIR / "secret_key")

# Fernet keys for the secrets in the database; the first one encrypts. Empty: stored in the data folder.
ENCRYPTION_KEYS = env.list("ENCRYPTION_KEYS", default=[])
for _key in ENCRYPTION_KEYS:
    try:
        Fernet(_key)
    except ValueError:
        raise ImproperlyConfigured(
            "ENCRYPTION_KEYS must be Fernet keys, separated by commas. Generate one with: "
            'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
        ) from None

# The servers whose accounts teams may connect. The site calls no other servers for them.
UPSTREAM_ORIGINS = [
    origin.rstrip("/") for origin in env.list("UPSTREAM_ORIGINS", default=[]) or ["https://multicartapi.com"]
]
for _origin in UPSTREAM_ORIGINS:
    if not re.fullmatch(r"(?a)https?://\w[\w.-]*(:\d+)?", _origin):
        raise ImproperlyConfigured(
            f"UPSTREAM_ORIGINS has {_origin!r}. Use a scheme, a host and an optional port, such as "
            "https://multicartapi.com, and separate several with commas."
        )

# What webhooks and chats may reach besides public addresses: hosts and networks of an intranet.
try:
    OUTGOING_ALLOW = guard.parse_allowed(env.list("OUTGOING_ALLOW", default=[]))
except ValueError as _entry:
    raise ImproperlyConfigured(
        f"OUTGOING_ALLOW has {str(_entry)!r}. Use host names and networks, such as chat.example.com or "
        "10.1.0.0/16, and separate several with commas."
    ) from None

# The address that people and scripts use for this site, such as https://results.example.com.
# Empty: links use the host of each request, and only this machine can use the site.
PUBLIC_URL = env.str("PUBLIC_URL", default="").rstrip("/")
if not re.fullmatch(r"(?a)(https?://\w[\w.-]*(:\d+)?)?", PUBLIC_URL):
    raise ImproperlyConfigured(
        f"PUBLIC_URL is {PUBLIC_URL!r}. Use only a scheme, a host and an optional port, such as "
        "https://results.example.com."
    )
_public = urlsplit(PUBLIC_URL)

ALLOWED_HOSTS = [_public.hostname] if _public.hostname else ["localhost", "127.0.0.1", "[::1]"]
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL] if PUBLIC_URL else []

# A Secure cookie is not sent back over plain HTTP, so these follow the scheme of PUBLIC_URL.
_https = _public.scheme == "https"
SECURE_SSL_REDIRECT = _https
# A proxy in front of us terminates TLS. Without this header, every request would be redirected.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if _https else None
# The proxy also sets request ids, which are not accepted from clients.
IS_BEHIND_A_PROXY = _https or DELIVERY == "nginx"
# All requests come from the proxy's address. allauth counts sign-ins by the address that it adds last.
ALLAUTH_TRUSTED_PROXY_COUNT = 1 if IS_BEHIND_A_PROXY else 0
# The API refuses plain HTTP instead: after a redirect, a script would keep sending its key unencrypted.
SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$", r"^api/(?!v1/(docs|openapi\.json)$)"]

# What browsers must open over HTTPS for a year: the host of PUBLIC_URL, on every port, or more.
HSTS = env.str("HSTS", default="") or "host"
if HSTS not in {"off", "host", "subdomains", "preload"}:
    raise ImproperlyConfigured(f"HSTS is {HSTS!r}; it must be off, host, subdomains or preload.")
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _https and HSTS != "off" else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HSTS in {"subdomains", "preload"}
SECURE_HSTS_PRELOAD = HSTS == "preload"

SESSION_COOKIE_SECURE = _https
CSRF_COOKIE_SECURE = _https
# Browsers accept names that begin with __Host- only from this host and only over HTTPS.
_cookie_prefix = "__Host-" if _https else ""
SESSION_COOKIE_NAME = f"{_cookie_prefix}sessionid"
CSRF_COOKIE_NAME = f"{_cookie_prefix}csrftoken"
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}

INSTALLED_APPS = [
    "collections_app",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "csp",
    "django_htmx",
    "heroicons",
]

# The token that allows reading /metrics. Empty: no one may.
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
if METRICS_TOKEN and not re.fullmatch(r"[!-~]{16,}", METRICS_TOKEN):
    raise ImproperlyConfigured(
        "METRICS_TOKEN must have at least 16 letters, digits and symbols, and no spaces. "
        'Generate one with: python -c "import secrets; print(secrets.token_urlsafe(32))"'
    )

MIDDLEWARE = [
    "collections_app.system.observability.requests.observe",
    "collections_app.views.middleware.add_headers",
    "django.middleware.security.SecurityMiddleware",
    "dashboard.static_files.StaticFiles",
    "collections_app.views.middleware.CompressPages",
    "collections_app.views.middleware.add_content_security_policy",
    "collections_app.views.middleware.DiskFullPage",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "collections_app.people.access.serve_scripts",
    # Only for people's requests:
    "django.contrib.sessions.middleware.SessionMiddleware",
    "collections_app.views.middleware.accept_old_cookie_names",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "collections_app.views.middleware.MethodNotAllowedPage",
    "collections_app.people.access.DefaultDeny",
]

ROOT_URLCONF = "dashboard.urls"
WSGI_APPLICATION = "dashboard.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "builtins": ["collections_app.templatetags.icons"],
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "collections_app.people.access.context",
            ],
        },
    }
]

# Such as postgres://user:password@db.example.com:5432/results. Empty: an SQLite file in the data folder.
DATABASE_URL = env.str("DATABASE_URL", default="")
_SQLITE = {
    "ENGINE": "collections_app.system.sqlite",
    "NAME": DATA_DIR / "db.sqlite3",
    "OPTIONS": {
        # Writers wait for the lock at the start instead of failing later with "database is locked".
        "transaction_mode": "IMMEDIATE",
        "timeout": 30,
        # FULL: a run that was reported as complete is still complete after a power failure.
        # The write-ahead log is a property of the file; see collections_app/apps.py.
        "init_command": "PRAGMA synchronous = FULL",
    },
    # In a file, because tests write from several threads and processes.
    "TEST": {"NAME": DATA_DIR / "test.sqlite3"},
}
DATABASES = {"default": database.postgresql(DATABASE_URL) if DATABASE_URL else _SQLITE}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

SESSION_ENGINE = "collections_app.people.sessions"

# The first two are database tables, so all processes share them.
CACHES = {
    # Only for sign-in counters: if other data could fill this cache, password guessing would be forgotten.
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    },
    "export_samples": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "export_samples",
    },
    # In the memory of each process: the rendered rows of completed runs, a few kilobytes each.
    "run_rows": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "run_rows",
        "TIMEOUT": None,
        "OPTIONS": {"MAX_ENTRIES": 4000},
    },
    # The same for the cells of collections that change with their runs.
    "collection_rows": {
        "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
        "LOCATION": "collection_rows",
        "TIMEOUT": None,
        "OPTIONS": {"MAX_ENTRIES": 4000},
    },
}

# The storage of runs' files, such as s3://KEY:SECRET@s3.example.com/bucket. Empty: in the data folder.
RESULTS_STORAGE_URL = env.str("RESULTS_STORAGE_URL", default="")
try:
    _results = (
        storage_url.parse(RESULTS_STORAGE_URL, connections=WEB_THREADS)
        if RESULTS_STORAGE_URL
        else storage_url.in_folder(DATA_DIR / "results")
    )
except storage_url.InvalidAddress as _problem:
    raise ImproperlyConfigured(f"RESULTS_STORAGE_URL is invalid. {_problem}") from None

STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "dashboard.static_files.BundledStaticFiles"},
    "results": _results.entry,
    # Files that can be created again at any time. files/storage/cache.py limits their size.
    "converted": {
        "BACKEND": "collections_app.files.storage.folder.FolderStorage",
        "OPTIONS": {"location": DATA_DIR / "converted"},
    },
}
STATIC_URL = "/static/"
STATIC_ROOT = BASE_DIR / "staticfiles"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Browsers request only names with digests, and no source maps. Skipping the rest saves collectstatic three
# quarters of its time.
WHITENOISE_KEEP_ONLY_HASHED_FILES = True
WHITENOISE_SKIP_COMPRESS_EXTENSIONS: tuple[str, ...] = ("map", "png", "svgz", "woff", "woff2", "br", "gz")

# Only views/upload/ receives files, with its own handler. With Django's default, files that are sent to any
# other address would be written to the disk.
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.MemoryFileUploadHandler"]
# A run can have hundreds of pages.
DATA_UPLOAD_MAX_NUMBER_FILES = 1000

AUTH_USER_MODEL = "collections_app.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "home"
ACCOUNT_ADAPTER = "collections_app.people.sign_in.SignInAdapter"
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_FORMS = {
    "change_password": "collections_app.views.sign_in.password_forms.ChangePasswordForm",
    "reset_password": "collections_app.views.sign_in.password_reset.PasswordResetForm",
    "reset_password_from_key": "collections_app.views.sign_in.password_forms.SetPasswordForm",
}
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_LOGIN_ON_PASSWORD_RESET = True
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
ACCOUNT_PASSWORD_RESET_TOKEN_GENERATOR = "collections_app.people.password_links.PasswordLinkTokens"  # noqa: S105
# views/sign_in/sign_in.py applies these limits to POST only; allauth would count HEAD and OPTIONS as well.
# collections_app/people/sign_in_limits.py counts failed sign-ins.
ACCOUNT_RATE_LIMITS = {
    "change_password": None,
    "login": None,
    "login_failed": None,
    "reset_password_from_key": None,
    "post_login": "30/m/ip",
    "post_password_change": "5/m/user",
    "post_password_set": "20/m/ip",
}
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None

# Such as smtp+tls://user:password@mail.example.com:587. Empty: no mail is sent, and the password reset
# page says whom to ask.
EMAIL_URL = env.str("EMAIL_URL", default="")
if EMAIL_URL:
    try:
        _email = env.email_url_config(EMAIL_URL)
    except (ImproperlyConfigured, ValueError):
        raise ImproperlyConfigured(
            "EMAIL_URL is invalid. Use a URL such as smtp+tls://user:password@mail.example.com:587."
        ) from None
    EMAIL_BACKEND = _email["EMAIL_BACKEND"]
    EMAIL_HOST = _email.get("EMAIL_HOST") or "localhost"
    EMAIL_PORT = _email.get("EMAIL_PORT") or 25
    EMAIL_HOST_USER = _email.get("EMAIL_HOST_USER") or ""
    EMAIL_HOST_PASSWORD = _email.get("EMAIL_HOST_PASSWORD") or ""
    EMAIL_USE_TLS = bool(_email.get("EMAIL_USE_TLS"))
    EMAIL_USE_SSL = bool(_email.get("EMAIL_USE_SSL"))
else:
    EMAIL_BACKEND = "django.core.mail.backends.dummy.EmailBackend"
EMAIL_TIMEOUT = 30  # seconds for each step of sending an email
DEFAULT_FROM_EMAIL = env.str("DEFAULT_FROM_EMAIL", default="") or f"results@{_public.hostname or 'localhost'}"

LANGUAGE_CODE = "en-us"
USE_I18N = False
TIME_ZONE = "UTC"
USE_TZ = True

# W005 and W021 recommend HSTS for all subdomains and preloading. Only the owner of the domain knows whether
# all of its hosts use HTTPS.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]

LOGGING = logs.config(for_people=DEBUG or sys.stderr.isatty())
