"""Addresses inside are refused in every spelling, and the servers there see nothing."""

import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import pytest
from pytest_django import Settings

from collections_app.outgoing import guard, request
from collections_app.outgoing.guard import Refused, Unreachable
from collections_app.outgoing.request import Answer, Request, post
from tests.support.receivers import Receiver, raw_server, receiving

INSIDE = [
    *("127.0.0.1", "127.1.2.3", "10.0.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254", "0.0.0.0"),
    *("100.64.0.1", "192.0.0.192", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::7f00:1", "fe80::1", "fec0::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:100.64.0.1", "::ffff:a9fe:a9fe"),  # IPv4 in IPv6
    *("64:ff9b::a9fe:a9fe", "64:ff9b:1::a00:1", "2002:a9fe:a9fe::1", "2001:0:a9fe:a9fe::1"),  # translated
]
PUBLIC = ["8.8.8.8", "93.184.215.14", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
HELLO = Request(b"{}")


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def allow(settings: Settings, *entries: str) -> None:
    settings.OUTGOING_ALLOW = guard.parse_allowed(entries)


def resolve_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        address = addresses_left.pop(0) if len(addresses_left) > 1 else addresses_left[0]
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    addresses_left = [*addresses]
    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.parametrize("address", INSIDE)
def test_an_inside_address_is_refused(address: str) -> None:
    assert not guard.is_public(ip_address(address))
    url = f"https://[{address}]/" if ":" in address else f"https://{address}/"
    with pytest.raises(Refused, match=r"isn't a public address\. Ask the operator of this site to add it to"):
        guard.check(url)
    with pytest.raises(Refused, match="isn't a public address"):
        post(url, HELLO)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address: str) -> None:
    assert guard.is_public(ip_address(address))


@pytest.mark.parametrize(
    "host",
    [
        "2130706433",
        "0x7f000001",
        "0x7f.1",
        "127.1",
        "0177.0.0.1",
        "localhost",
        "\uff11\uff12\uff17.0.0.1",
        "127\u30020\u30020\u30021",
        "\u2460\u2461\u2466.1",
    ],
)
def test_other_spellings_of_this_machine_are_refused(receiver: Receiver, host: str) -> None:
    port = receiver.url.rsplit(":", 1)[1]
    for scheme in ("http", "https"):
        with pytest.raises(Refused, match="isn't a public address"):
            post(f"{scheme}://{host}:{port}", HELLO)
    assert not receiver.received


def test_a_name_that_resolves_differently_the_next_time_reaches_nothing(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    connected: list[Any] = []

    def connect(self: socket.socket, address: Any) -> None:
        connected.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket.socket, "connect", connect)
    resolve_to(monkeypatch, "8.8.8.8", "127.0.0.1")
    with pytest.raises(Unreachable, match=r"Connection refused\."):
        post("https://rebinding.example/", HELLO)
    assert connected == [("8.8.8.8", 443)]
    with pytest.raises(Refused):
        post("https://rebinding.example/", HELLO)
    assert len(connected) == 1


def test_a_redirect_inside_is_not_followed(settings: Settings, receiver: Receiver) -> None:
    allow(settings, "127.0.0.1/32")
    with receiving() as inside:
        receiver.status, receiver.headers = 307, {"Location": inside.url}
        assert post(receiver.url, HELLO).status == 307
        assert not inside.received


def test_a_proxy_of_the_environment_is_not_used(
    settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(settings, "127.0.0.0/8")
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert post(receiver.url, HELLO).is_success


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("https://example.com:8443/", "uses port 443"),
        ("http://example.com/", "starts with https://"),
        ("ftp://example.com/", "Enter a URL that starts with https://"),
        ("file:///etc/passwd", "Enter a URL that starts with https://"),
        ("example.com", "Enter a URL that starts with https://"),
        ("https://", "Enter a URL that starts with https://"),
        ("https://user:secret@example.com/", "without a user name and password"),
        ("https://example.com/a b", "Enter a URL that starts with https://"),
        ("https://example.com\\@127.0.0.1/", "Enter a URL that starts with https://"),
        ("https://example.com/\r\nX-Header: 1", "Enter a URL that starts with https://"),
        ("https://example.com:99999/", "isn't a valid URL"),
        ("https://[::1", "isn't a valid URL"),
        ("https://a..example/", "isn't a valid URL"),
        (f"https://example.com/{'a' * 2000}", "longer than 2000 characters"),
    ],
)
def test_other_urls_are_refused_with_a_reason(url: str, problem: str) -> None:
    with pytest.raises(Refused, match=problem) as refused:
        guard.check(url)
    assert "secret" not in str(refused.value)


def test_the_operator_can_allow_hosts_and_networks(settings: Settings) -> None:
    allow(settings, "Chat.intranet.example", "10.1.0.0/16", "::1")
    assert guard.check("http://chat.intranet.example:8065/hooks/x").path == "/hooks/x"
    assert guard.check("http://10.1.2.3:8080/?a=ü").path == "/?a=%C3%BC"
    assert guard.check("http://[::1]:1/").host == "::1"
    with pytest.raises(Refused):
        guard.check("http://10.2.0.1/")


@pytest.mark.parametrize(
    "entry", ["10.0.0.1/8", "1.2.3", "http://chat.example", "chat.example:80", "*", "-a"]
)
def test_a_wrong_entry_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match=r".") as wrong:
        guard.parse_allowed(["10.0.0.0/8", entry])
    assert str(wrong.value) == entry


# --- servers that misbehave ---------------------------------------------------------------------


def test_only_the_first_kilobyte_of_the_answer_is_kept(settings: Settings, receiver: Receiver) -> None:
    allow(settings, "127.0.0.0/8")
    receiver.status, receiver.body = 500, b"\0\xff" + b"x" * 100_000
    answer = post(receiver.url, HELLO)
    assert (answer.status, len(answer.body)) == (500, 1024)
    assert answer.body.startswith("\ufffd\ufffdx")


@pytest.mark.parametrize(("header", "seconds"), [("120", 120), ("999999999999", 86400), ("soon", None)])
def test_it_asks_for_a_pause(
    settings: Settings, receiver: Receiver, header: str, seconds: int | None
) -> None:
    allow(settings, "127.0.0.0/8")
    receiver.status, receiver.headers = 429, {"Retry-After": header}
    pause = None if seconds is None else timedelta(seconds=seconds)
    assert post(receiver.url, HELLO) == Answer(429, "", pause)


def test_a_slow_server_takes_bounded_time(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    allow(settings, "127.0.0.0/8")
    monkeypatch.setattr(request, "SECONDS", 0.3)

    def dribble(connected: socket.socket) -> None:
        for byte in b"HTTP/1.1 200 OK\r\n" * 100:
            connected.sendall(bytes([byte]))
            time.sleep(0.02)

    with raw_server(dribble) as url, pytest.raises(Unreachable, match="No response within"):
        post(url, HELLO)


@pytest.mark.parametrize(
    ("sends", "problem"),
    [
        (b"SSH-2.0-OpenSSH\r\n", "The response isn't valid HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 20_000, "The response isn't valid HTTP"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, "The response isn't valid HTTP"),
        (b"", "The connection was closed"),
    ],
)
def test_nonsense_takes_bounded_memory(settings: Settings, sends: bytes, problem: str) -> None:
    allow(settings, "127.0.0.0/8")
    with (
        raw_server(lambda connected: connected.sendall(sends)) as url,
        pytest.raises(Unreachable, match=problem),
    ):
        post(url, HELLO)


def test_the_status_counts_even_if_the_answer_never_ends(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow(settings, "127.0.0.0/8")
    monkeypatch.setattr(request, "SECONDS", 0.3)

    def talk(connected: socket.socket) -> None:
        connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nthanks")
        time.sleep(0.5)

    with raw_server(talk) as url:
        assert post(url, HELLO) == Answer(200, "thanks")
