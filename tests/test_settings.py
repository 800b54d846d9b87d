"""Settings from environment variables. test_serve.py has a production-like process."""

import os
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest
from allauth.core.internal.httpkit import get_client_ip
from django.conf import settings as site
from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from django.test import Client, RequestFactory
from pytest_django import Settings

from collections_app.models import User
from collections_app.outgoing.guard import Allowed
from collections_app.system import data_folder
from tests.conftest import PASSWORD
from tests.support.responses import Response
from tests.support.tools import ROOT
from tests.test_encryption import new_key

SETTINGS = str(ROOT / "dashboard" / "settings.py")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def read(**environment: str) -> dict[str, Any]:
        monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(SETTINGS)

    return read


def test_by_default_only_this_machine_is_served_over_plain_http(read: Any) -> None:
    settings = read()
    assert settings["DEBUG"] is False
    assert settings["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert not settings["SECURE_SSL_REDIRECT"]
    assert not settings["SESSION_COOKIE_SECURE"]
    assert settings["SECURE_PROXY_SSL_HEADER"] is None


def test_an_https_public_url_enables_https_everywhere(read: Any) -> None:
    settings = read(PUBLIC_URL="https://results.example.com/")
    assert settings["PUBLIC_URL"] == "https://results.example.com"
    assert settings["ALLOWED_HOSTS"] == ["results.example.com"]
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["https://results.example.com"]
    assert settings["SECURE_SSL_REDIRECT"]
    assert settings["SESSION_COOKIE_SECURE"]
    assert settings["CSRF_COOKIE_SECURE"]
    assert settings["SESSION_COOKIE_NAME"] == "__Host-sessionid"
    assert settings["CSRF_COOKIE_NAME"] == "__Host-csrftoken"


def test_a_plain_http_public_url_uses_cookies_that_browsers_send_back(read: Any) -> None:
    settings = read(PUBLIC_URL="http://results.lan:8000")
    assert settings["ALLOWED_HOSTS"] == ["results.lan"]
    assert not settings["SESSION_COOKIE_SECURE"]
    assert settings["SESSION_COOKIE_NAME"] == "sessionid"
    assert settings["CSRF_COOKIE_NAME"] == "csrftoken"
    assert settings["SECURE_HSTS_SECONDS"] == 0


def test_an_invalid_hsts_setting_is_reported_in_one_sentence(read: Any) -> None:
    with pytest.raises(ImproperlyConfigured, match="HSTS is 'yes'; it must be off, host, subdomains or pre"):
        read(HSTS="yes")


def test_only_deployment_checks_about_other_hosts_are_silenced(read: Any) -> None:
    assert read()["SILENCED_SYSTEM_CHECKS"] == ["security.W005", "security.W021"]


@pytest.mark.parametrize(
    "url",
    [
        "results.example.com",
        "ftp://example.com",
        "https://",
        "https://a.example/b",
        "https://[bad",
        "https://h?x=1",
        "https://h#x",
        "http://h:abc",
        "https://u:p@h",
        "https://*",
        "https://.example.com",
        "https://h h",
    ],
)
def test_an_invalid_public_url_is_rejected(read: Any, url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"PUBLIC_URL is .* such as https://results\.example\.com"):
        read(PUBLIC_URL=url)


@pytest.mark.parametrize("name", ["PORT", "WEB_CONCURRENCY", "WEB_THREADS"])
@pytest.mark.parametrize("text", ["http", "0", "65536", "-1", "80.5", "²"])
def test_an_invalid_number_is_rejected(read: Any, name: str, text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"^{name} is {text!r}; it must be a number from 1 to "):
        read(**{name: text})


@pytest.mark.parametrize(
    ("host", "port", "listens"), [("", "", ("127.0.0.1", 8000)), ("0.0.0.0", "80", ("0.0.0.0", 80))]
)
def test_by_default_it_listens_only_on_this_machine(
    read: Any, host: str, port: str, listens: tuple[str, int]
) -> None:
    settings = read(HOST=host, PORT=port)
    assert (settings["HOST"], settings["PORT"]) == listens


@pytest.mark.parametrize(("cores", "workers"), [(1, 1), (2, 2), (64, 8), (None, 1)])
def test_it_has_one_worker_per_core(
    read: Any, monkeypatch: pytest.MonkeyPatch, cores: int | None, workers: int
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert read(WEB_CONCURRENCY="")["WEB_CONCURRENCY"] == workers


def test_an_empty_data_folder_is_the_default(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared: list[Path] = []
    monkeypatch.setattr(data_folder, "prepare", lambda folder: prepared.append(folder) or folder)  # type: ignore[func-returns-value]
    read(DATA_DIR="", SECRET_KEY="no file is created")
    assert prepared == [ROOT / "var"]


def test_the_secret_key_is_generated_once(read: Any) -> None:
    key = read()["SECRET_KEY"]
    assert len(key) >= 50
    assert read()["SECRET_KEY"] == key
    assert read(SECRET_KEY="from the environment")["SECRET_KEY"] == "from the environment"


@pytest.mark.parametrize("text", ["", ","])
def test_encryption_keys_default_to_the_data_folder(read: Any, text: str) -> None:
    assert read()["ENCRYPTION_KEYS"] == read(ENCRYPTION_KEYS=text)["ENCRYPTION_KEYS"] == []


def test_encryption_keys_are_a_list(read: Any) -> None:
    first, second = new_key(), new_key()
    assert read(ENCRYPTION_KEYS=f"{first},{second}")["ENCRYPTION_KEYS"] == [first, second]


@pytest.mark.parametrize("text", ["canary", "canary==", f"{'c' * 43}=,canary", "é" * 44])
def test_invalid_encryption_keys_are_rejected_without_showing_them(read: Any, text: str) -> None:
    with pytest.raises(
        ImproperlyConfigured, match="ENCRYPTION_KEYS must be Fernet keys, separated "
    ) as error:
        read(ENCRYPTION_KEYS=text)
    assert text not in str(error.value)
    assert "canary" not in str(error.value)


@pytest.mark.parametrize("text", ["", ","])
def test_accounts_default_to_multicartapi(read: Any, text: str) -> None:
    assert read()["UPSTREAM_ORIGINS"] == ["https://multicartapi.com"]
    assert read(UPSTREAM_ORIGINS=text)["UPSTREAM_ORIGINS"] == ["https://multicartapi.com"]


def test_upstream_origins_are_a_list(read: Any) -> None:
    settings = read(UPSTREAM_ORIGINS="https://multicartapi.com/,http://127.0.0.1:8001")
    assert settings["UPSTREAM_ORIGINS"] == ["https://multicartapi.com", "http://127.0.0.1:8001"]


@pytest.mark.parametrize(
    "text",
    [
        "multicartapi.com",
        "https://multicartapi.com/api/v1",
        "https://u:p@multicartapi.com",
        "https://*",
        "https://a.example,ftp://b.example",
        "https://[::1]",
    ],
)
def test_an_invalid_upstream_origin_is_rejected(read: Any, text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^UPSTREAM_ORIGINS has .* Use a scheme, a host and "):
        read(UPSTREAM_ORIGINS=text)


def test_notifications_may_reach_hosts_and_networks_that_the_operator_allows(read: Any) -> None:
    assert read()["OUTGOING_ALLOW"] == Allowed(frozenset(), ())
    allowed = Allowed(frozenset({"chat.example.com"}), ("10.1.0.0/16",))
    assert read(OUTGOING_ALLOW="chat.example.com,10.1.0.0/16")["OUTGOING_ALLOW"] == allowed
    with pytest.raises(
        ImproperlyConfigured, match=r"^OUTGOING_ALLOW has 'http://x'. Use host names and netw"
    ):
        read(OUTGOING_ALLOW="chat.example.com,http://x")


def test_no_mail_is_sent_without_a_mail_server(read: Any) -> None:
    assert read()["EMAIL_BACKEND"] == "django.core.mail.backends.dummy.EmailBackend"


def test_a_mail_server_is_one_url(read: Any) -> None:
    settings = read(EMAIL_URL="smtp+tls://me:secret@mail.example.com:587")
    assert settings["EMAIL_BACKEND"] == "django.core.mail.backends.smtp.EmailBackend"
    assert (settings["EMAIL_HOST"], settings["EMAIL_PORT"]) == ("mail.example.com", 587)
    assert (settings["EMAIL_HOST_USER"], settings["EMAIL_HOST_PASSWORD"]) == ("me", "secret")
    assert (settings["EMAIL_USE_TLS"], settings["EMAIL_USE_SSL"]) == (True, False)
    assert settings["EMAIL_TIMEOUT"] == 30


def test_a_mail_server_without_host_or_port_is_the_local_one(read: Any) -> None:
    settings = read(EMAIL_URL="smtp://")
    assert (settings["EMAIL_HOST"], settings["EMAIL_PORT"]) == ("localhost", 25)
    assert (settings["EMAIL_HOST_USER"], settings["EMAIL_USE_TLS"]) == ("", False)


@pytest.mark.parametrize("url", ["mail.example.com:25", "xmtp://mail.example.com", "smtp://mail:port"])
def test_an_invalid_mail_server_is_rejected(read: Any, url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"EMAIL_URL is invalid\. Use a URL such as smtp"):
        read(EMAIL_URL=url)


class TestBehindATlsProxy:
    @pytest.fixture(autouse=True)
    def https(self, settings: Settings, read: Any) -> None:
        self.use(settings, read(PUBLIC_URL="https://results.example.com"))

    def use(self, settings: Settings, production: dict[str, Any]) -> None:
        for name in (
            "ALLOWED_HOSTS",
            "SECURE_SSL_REDIRECT",
            "SECURE_PROXY_SSL_HEADER",
            "SECURE_HSTS_SECONDS",
            "SECURE_HSTS_INCLUDE_SUBDOMAINS",
            "SECURE_HSTS_PRELOAD",
        ):
            setattr(settings, name, production[name])

    def test_plain_http_redirects_to_https(self) -> None:
        answer = Client().get("/accounts/login/", headers={"host": "results.example.com"})
        assert answer.status_code == 301
        assert answer["Location"] == "https://results.example.com/accounts/login/"

    def test_https_requests_to_the_proxy_are_served(self) -> None:
        answer = Client().get(
            "/healthz", headers={"host": "results.example.com", "x-forwarded-proto": "https"}
        )
        assert answer.status_code == 200

    @pytest.mark.parametrize(
        ("hsts", "header"),
        [
            ("", "max-age=31536000"),
            ("host", "max-age=31536000"),
            ("subdomains", "max-age=31536000; includeSubDomains"),
            ("preload", "max-age=31536000; includeSubDomains; preload"),
            ("off", None),
        ],
    )
    def test_hsts_excludes_other_hosts_of_the_domain_by_default(
        self, settings: Settings, read: Any, hsts: str, header: str | None
    ) -> None:
        self.use(settings, read(PUBLIC_URL="https://nas.local:8443", HSTS=hsts))
        headers = {"host": "nas.local:8443", "x-forwarded-proto": "https"}
        answer = Client().get("/accounts/login/", headers=headers)
        assert answer.headers.get("Strict-Transport-Security") == header

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]"])
    def test_under_other_host_names_only_monitoring_works(self, host: str) -> None:
        headers = {"host": host, "x-forwarded-proto": "https"}
        asked = {path: Client().get(path, headers=headers).status_code for path in ("/healthz", "/metrics")}
        assert asked == {"/healthz": 200, "/metrics": 404}  # without a token
        assert Client().get("/accounts/login/", headers=headers).status_code == 400

    def test_the_health_check_needs_no_https(self) -> None:
        assert Client().get("/healthz", headers={"host": "localhost"}).status_code == 200


class TestClientAddress:
    """Failed sign-ins are counted by this address and by user."""

    def address(self, settings: Settings, public: dict[str, Any], forwarded: str) -> str | None:
        settings.ALLAUTH_TRUSTED_PROXY_COUNT = public["ALLAUTH_TRUSTED_PROXY_COUNT"]
        request = RequestFactory().get("/", REMOTE_ADDR="127.0.0.1", headers={"x-forwarded-for": forwarded})
        found: str | None = get_client_ip(request)
        return found

    def test_behind_a_proxy_it_is_the_address_that_the_proxy_adds(
        self, settings: Settings, read: Any
    ) -> None:
        public = read(PUBLIC_URL="https://results.example.com")
        # The client forged the first address; the proxy added the last one.
        assert self.address(settings, public, "203.0.113.1, 198.51.100.7") == "198.51.100.7"

    @pytest.mark.parametrize("url", ["", "http://results.lan:8000", "https://results.example.com"])
    def test_nginx_delivery_counts_as_a_proxy(self, settings: Settings, read: Any, url: str) -> None:
        public = read(PUBLIC_URL=url, DELIVERY="nginx")
        assert self.address(settings, public, "203.0.113.1, 198.51.100.7") == "198.51.100.7"
        assert public["IS_BEHIND_A_PROXY"]

    @pytest.mark.parametrize("url", ["", "http://results.lan:8000"])
    def test_without_a_proxy_clients_can_not_forge_it(self, settings: Settings, read: Any, url: str) -> None:
        assert self.address(settings, read(PUBLIC_URL=url), "198.51.100.7") == "127.0.0.1"

    @pytest.mark.django_db
    @pytest.mark.parametrize(
        ("url", "locked_out"), [("https://results.example.com", False), ("http://results.lan", True)]
    )
    def test_behind_a_proxy_one_client_does_not_lock_out_others(
        self, settings: Settings, read: Any, bob: User, url: str, *, locked_out: bool
    ) -> None:
        settings.ALLAUTH_TRUSTED_PROXY_COUNT = read(PUBLIC_URL=url)["ALLAUTH_TRUSTED_PROXY_COUNT"]
        cache.clear()

        def sign_in(number: int, email: str, password: str) -> Response:
            headers = {"x-forwarded-for": f"198.51.100.{number}"}
            return Client().post("/accounts/login/", {"login": email, "password": password}, headers=headers)

        for attempt in range(40):
            sign_in(1, f"somebody-{attempt}@example.com", "wrong")
        answer = sign_in(2, bob.email, PASSWORD)
        assert (answer.status_code != 302) is locked_out


def test_the_version_is_that_of_the_project() -> None:
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"] == site.VERSION
