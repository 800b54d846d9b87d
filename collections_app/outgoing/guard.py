"""Which URLs the site calls for people: public addresses, and what an operator allows (OUTGOING_ALLOW).

A URL is checked again each time it is called. `resolve` returns checked addresses to connect to, so a host
name that resolves to another address the next time can't reach one that isn't public.
"""

import re
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from django.conf import settings

LONGEST_URL = 2000
_PORTS = {"http": 80, "https": 443}
_MOST_ADDRESSES = 4
_ASK = "Ask the operator of this site to add it to OUTGOING_ALLOW."

# Addresses for special purposes (IANA's registries, RFC 6890 and its updates). `ipaddress` knows most of
# them, but not in all versions of Python.
_SPECIAL_V4 = [
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15"),
        *("198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
]
_PUBLIC_V6 = IPv6Network("2000::/3")
_SPECIAL_V6 = [IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")]
# Networks whose last 32 bits are an IPv4 address, which the connection goes to.
_V4_IN_V6 = [IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96")]

Address = IPv4Address | IPv6Address


class Refused(Exception):
    """A URL that the site doesn't call. The text says why, and what to do."""


class Unreachable(Exception):
    """A server that can't be reached or doesn't respond properly. The text says why."""


@dataclass(frozen=True)
class Allowed:
    """What an operator allows besides public addresses: hosts, and networks."""

    hosts: frozenset[str]
    networks: tuple[str, ...]

    def has_host(self, host: str) -> bool:
        """Return whether the host is allowed, whatever its addresses."""
        return host in self.hosts

    def has_address(self, address: Address) -> bool:
        """Return whether the address is in one of the networks."""
        return any(address in ip_network(network) for network in self.networks)


def parse_allowed(entries: Iterable[str]) -> Allowed:
    """Return what the entries of OUTGOING_ALLOW allow. Raises ValueError with the text of a wrong entry."""
    hosts, networks = set(), []
    for entry in entries:
        try:
            networks.append(str(ip_network(entry)))
        except ValueError:
            if not re.fullmatch(r"(?a)\w([\w.-]*\w)?", entry) or re.fullmatch(r"[\d.]+", entry):
                raise ValueError(entry) from None
            hosts.add(entry.lower())
    return Allowed(frozenset(hosts), tuple(networks))


@dataclass(frozen=True)
class Target:
    """The parts of a URL. `host` is ASCII, and `path` includes the query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def is_ordinary(self) -> bool:
        """Whether the scheme and the port are those of public servers."""
        return (self.scheme, self.port) == ("https", _PORTS["https"])


class Endpoint(NamedTuple):
    """A checked address to connect to, as the `socket` module needs it."""

    family: int
    address: Any  # its form depends on the family


def parse(url: str) -> Target:
    """Return the parts of a URL. Raises Refused."""
    if len(url) > LONGEST_URL:
        raise Refused(f"This URL is longer than {LONGEST_URL} characters.")
    try:
        found = urlsplit(url)
        host, port = _ascii(found.hostname or ""), found.port
    except ValueError:
        raise Refused("That isn't a valid URL.") from None
    if found.scheme not in _PORTS or not host or re.search(r"[\s\\\x00-\x1f\x7f]", url):
        raise Refused("Enter a URL that starts with https://.")
    if "@" in found.netloc:
        raise Refused("Enter a URL without a user name and password.")
    path = quote(found.path or "/", safe="/%:=&?~#+!$,;'@()*[]")
    query = quote(found.query, safe="/%:=&?~#+!$,;'@()*[]")
    port = _PORTS[found.scheme] if port is None else port
    return Target(found.scheme, host, port, f"{path}?{query}" if query else path)


def check(url: str) -> Target:
    """Return the parts of a URL that may be saved. Raises Refused.

    Host names aren't resolved here, because that may take long. They are when the URL is called.
    """
    target = parse(url)
    try:
        address = ip_address(target.host)
    except ValueError:
        if not settings.OUTGOING_ALLOW.networks:
            _check(target, None)
    else:
        _check(target, address)
    return target


def resolve(target: Target) -> list[Endpoint]:
    """Return the addresses of the host that may be called. Raises Refused, Unreachable."""
    try:
        found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise Unreachable("The host name can't be resolved.") from None
    allowed: list[Endpoint] = []
    refused: Refused | None = None
    for family, _, _, _, address in found:
        try:
            _check(target, ip_address(str(address[0]).partition("%")[0]))
        except Refused as error:
            refused = error
        else:
            allowed.append(Endpoint(family, address))
    if refused and not allowed:
        raise refused
    return allowed[:_MOST_ADDRESSES]


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the public internet, in all of its spellings."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    if any(address in network for network in _V4_IN_V6):
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _PUBLIC_V6 and not any(address in network for network in _SPECIAL_V6)


def _check(target: Target, address: Address | None) -> None:
    """Raise Refused if the target may not be called at this address. None: it isn't known yet."""
    allowed: Allowed = settings.OUTGOING_ALLOW
    if allowed.has_host(target.host) or (address is not None and allowed.has_address(address)):
        return
    if address is not None and not is_public(address):
        raise Refused(f"{target.host} isn't a public address. {_ASK}")
    if not target.is_ordinary:
        raise Refused(f"Enter a URL that starts with https:// and uses port 443. To use another: {_ASK}")


def _ascii(host: str) -> str:
    """Return the host in lower case and ASCII. Raises ValueError."""
    if ":" in host:
        return str(IPv6Address(host))
    return host.encode("idna").decode().lower().removesuffix(".")
