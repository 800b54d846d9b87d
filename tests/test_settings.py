"""What the environment makes of the settings. A production-like process is in test_serve.py."""

import runpy
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from pytest_django import Settings

SETTINGS = str(Path(__file__).resolve().parent.parent / "dashboard" / "settings.py")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    def read(**environment: str) -> dict[str, Any]:
        monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return runpy.run_path(SETTINGS)

    return read


def test_by_default_only_this_machine_is_answered_over_plain_http(read: Any) -> None:
    settings = read()
    assert settings["DEBUG"] is False
    assert settings["ALLOWED_HOSTS"] == ["localhost", "127.0.0.1", "[::1]"]
    assert not settings["SECURE_SSL_REDIRECT"]
    assert not settings["SESSION_COOKIE_SECURE"]
    assert settings["SECURE_PROXY_SSL_HEADER"] is None


def test_an_https_address_turns_everything_to_https(read: Any) -> None:
    settings = read(PUBLIC_URL="https://results.example.com/")
    assert settings["PUBLIC_URL"] == "https://results.example.com"
    assert "results.example.com" in settings["ALLOWED_HOSTS"]
    assert settings["CSRF_TRUSTED_ORIGINS"] == ["https://results.example.com"]
    assert settings["SECURE_SSL_REDIRECT"]
    assert settings["SESSION_COOKIE_SECURE"]
    assert settings["CSRF_COOKIE_SECURE"]
    assert settings["SECURE_HSTS_SECONDS"] > 0


def test_a_plain_http_address_keeps_cookies_that_a_browser_sends_back(read: Any) -> None:
    settings = read(PUBLIC_URL="http://results.lan:8000")
    assert "results.lan" in settings["ALLOWED_HOSTS"]
    assert not settings["SESSION_COOKIE_SECURE"]
    assert settings["SECURE_HSTS_SECONDS"] == 0


@pytest.mark.parametrize(
    "url", ["results.example.com", "ftp://example.com", "https://", "https://a.example/b"]
)
def test_a_public_url_that_is_none_is_said_in_one_sentence(read: Any, url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"PUBLIC_URL is .* such as https://results\.example\.com"):
        read(PUBLIC_URL=url)


def test_the_secret_key_is_made_on_first_use_and_stays(read: Any) -> None:
    key = read()["SECRET_KEY"]
    assert len(key) >= 50
    assert read()["SECRET_KEY"] == key
    assert read(SECRET_KEY="from the environment")["SECRET_KEY"] == "from the environment"


def test_nothing_is_sent_without_a_mail_server(read: Any) -> None:
    assert read()["EMAIL_BACKEND"] == "django.core.mail.backends.dummy.EmailBackend"


def test_a_mail_server_is_one_address(read: Any) -> None:
    settings = read(EMAIL_URL="smtp+tls://me:secret@mail.example.com:587")
    assert settings["EMAIL_BACKEND"] == "django.core.mail.backends.smtp.EmailBackend"
    assert (settings["EMAIL_HOST"], settings["EMAIL_PORT"]) == ("mail.example.com", 587)
    assert (settings["EMAIL_HOST_USER"], settings["EMAIL_HOST_PASSWORD"]) == ("me", "secret")
    assert (settings["EMAIL_USE_TLS"], settings["EMAIL_USE_SSL"]) == (True, False)


def test_a_mail_server_without_a_name_or_port_is_the_local_one(read: Any) -> None:
    settings = read(EMAIL_URL="smtp://")
    assert (settings["EMAIL_HOST"], settings["EMAIL_PORT"]) == ("localhost", 25)
    assert (settings["EMAIL_HOST_USER"], settings["EMAIL_USE_TLS"]) == ("", False)


@pytest.mark.parametrize("url", ["mail.example.com:25", "xmtp://mail.example.com", "smtp://mail:port"])
def test_a_mail_server_that_is_none_is_said_in_one_sentence(read: Any, url: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL is not understood; it must look like smtp"):
        read(EMAIL_URL=url)


class TestBehindAProxyThatSpeaksTls:
    @pytest.fixture(autouse=True)
    def https(self, settings: Settings, read: Any) -> None:
        production = read(PUBLIC_URL="https://results.example.com")
        for name in (
            "ALLOWED_HOSTS",
            "SECURE_SSL_REDIRECT",
            "SECURE_PROXY_SSL_HEADER",
            "SECURE_HSTS_SECONDS",
        ):
            setattr(settings, name, production[name])

    def test_plain_http_is_sent_to_https(self) -> None:
        answer = Client().get("/accounts/login/", headers={"host": "results.example.com"})
        assert answer.status_code == 301
        assert answer["Location"] == "https://results.example.com/accounts/login/"

    def test_what_the_proxy_got_over_https_is_answered(self) -> None:
        answer = Client().get(
            "/healthz", headers={"host": "results.example.com", "x-forwarded-proto": "https"}
        )
        assert answer.status_code == 200
        assert "Strict-Transport-Security" in answer.headers

    def test_the_health_check_needs_no_https(self) -> None:
        assert Client().get("/healthz", headers={"host": "localhost"}).status_code == 200
