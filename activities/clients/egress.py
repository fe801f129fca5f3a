"""Where the outgoing HTTP door may connect to.

A definition is written by one person and runs inside another's network, so an address is dialled
only if it is public, or if the deployment named it in `SIGNALBOX_EGRESS_ALLOW`.
`ipaddress.is_global` alone is not that answer: what it says changed between patch releases of
Python, and it passes multicast, NAT64 and cloud platform addresses. The table here is our own:
IPv4 without its special blocks, IPv6 inside 2000::/3 without its special blocks.
"""

import re
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Self

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: The setting that `Egress.parse` reads; refusals name it, so that an operator knows the remedy.
SETTING = "SIGNALBOX_EGRESS_ALLOW"

#: Ports of public hosts that need no permission. Everything else on the Internet that speaks a
#: line protocol (mail, Redis, memcached) must not be reachable with bytes that a user chose.
PUBLIC_PORTS = frozenset({80, 443, 8080, 8443})

# IANA special-purpose registries, and what they leave out: 168.63.129.16 is Azure's host agent,
# public by number and local by meaning.
_SPECIAL_V4 = tuple(
    (IPv4Network(block), name)
    for block, name in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared (carrier) private"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "cloud platform"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "protocol assignment"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "AS112"),
        ("192.52.193.0/24", "multicast tunnel"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "AS112"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_SPECIAL_V6 = tuple(
    (IPv6Network(block), name)
    for block, name in (
        ("2001::/32", "Teredo"),
        ("2001::/23", "protocol assignment"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "AS112"),
        ("3ffe::/16", "retired 6bone"),
        ("3fff::/20", "documentation"),
        # Outside 2000::/3 and so refused anyway; named for the message's sake.
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::ffff:0:0:0/96", "IPv4-translated"),
        ("::/96", "IPv4-compatible"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "local NAT64"),
        ("100::/64", "discard-only"),
        ("fc00::/7", "private (unique local)"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
#: Forms of IPv6 address that carry an IPv4 address: block, and how far right the 32 bits lie.
_CARRIERS = (
    (IPv6Network("::/96"), 0),
    (IPv6Network("::ffff:0:0/96"), 0),
    (IPv6Network("::ffff:0:0:0/96"), 0),
    (IPv6Network("64:ff9b::/96"), 0),
    (IPv6Network("2002::/16"), 80),
)
_TEREDO = IPv6Network("2001::/32")
#: Interface identifiers of ISATAP, which tunnels to the IPv4 address in the last 32 bits.
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})

_HOST = re.compile(r"(\*\.)?[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_NUMERIC_LABEL = re.compile(r"[0-9]+|0x[0-9a-f]*")


def address_class(address: Address) -> str | None:
    """Say why an address is special.

    Args:
        address: What a resolver answered, or an address literal.

    Returns:
        The name of its class, such as `"loopback"`, or None for a public unicast address.

    >>> address_class(ip_address("127.0.0.1"))
    'loopback'
    >>> address_class(ip_address("93.184.215.14")) is None
    True
    """
    if isinstance(address, IPv4Address):
        return next((name for block, name in _SPECIAL_V4 if address in block), None)
    for block, name in _SPECIAL_V6:
        if address in block:
            return name
    if address not in _GLOBAL_UNICAST:
        return "reserved"
    return "ISATAP" if _carried(address) is not None else None


def _carried(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address is a spelling of or a tunnel to."""
    if isinstance(address, IPv4Address):
        return None
    number = int(address)
    if number <= 1:  # `::` and `::1`, not spellings of 0.0.0.0 and 0.0.0.1
        return None
    for block, shift in _CARRIERS:
        if address in block:
            return IPv4Address(number >> shift & 0xFFFFFFFF)
    if address in _TEREDO:  # the client's address, stored inverted
        return IPv4Address(~number & 0xFFFFFFFF)
    if number >> 32 & 0xFFFFFFFF in _ISATAP:
        return IPv4Address(number & 0xFFFFFFFF)
    return None


@dataclass(frozen=True)
class Egress:
    """What may be reached although it is not public.

    Attributes:
        networks: Blocks of addresses, each with the one port it is open for, or None for all.
        hosts: Names in lower case, `*.` in front for everything below, each with a port or None.
            A named host may resolve to anything.
    """

    networks: tuple[tuple[Network, int | None], ...] = ()
    hosts: tuple[tuple[str, int | None], ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the value of `SIGNALBOX_EGRESS_ALLOW`.

        Args:
            text: Entries between commas: `10.0.0.0/8`, `::1`, `127.0.0.1:9000`, `[::1]:9000`,
                `internal.example`, `*.corp.example:8080`. May be empty.

        Returns:
            The permissions.

        Raises:
            ValueError: An entry is none of these; the message quotes it.
        """
        networks: list[tuple[Network, int | None]] = []
        hosts: list[tuple[str, int | None]] = []
        for entry in filter(None, (part.strip().lower() for part in text.split(","))):
            try:
                place, port = _read_entry(entry)
            except ValueError as exc:
                raise ValueError(f"{SETTING}: {entry!r} {exc}") from None
            if isinstance(place, str):
                hosts.append((place, port))
            else:
                networks.append((place, port))
        return cls(networks=tuple(networks), hosts=tuple(hosts))

    def names(self, host: str, port: int) -> bool:
        """Say whether the setting names this host, as it was written in the URL."""
        host = host.lower().removesuffix(".")
        return any(
            (only is None or only == port)
            and (host.endswith(name[1:]) if name.startswith("*.") else host == name)
            for name, only in self.hosts
        )

    def refusal(self, host: str, port: int, address: Address) -> str | None:
        """Say why an address of a host may not be dialled.

        Args:
            host: The host of the URL.
            port: The port of the URL, or the default of its scheme.
            address: One address that the host resolved to.

        Returns:
            The end of a sentence, `"is a loopback address"`, or None when it may be dialled.
        """
        if self.names(host, port) or self._in_networks(address, port):
            return None
        special = address_class(address)
        if special is not None:
            return f"is a {special} address"
        if port not in PUBLIC_PORTS:
            return f"is public, but port {port} is not one of {sorted(PUBLIC_PORTS)}"
        return None

    def _in_networks(self, address: Address, port: int) -> bool:
        inside = any(
            (only is None or only == port)
            and address.version == network.version
            and address in network
            for network, only in self.networks
        )
        # `::/0` means the IPv6 Internet, not every IPv4 address in an IPv6 spelling.
        carried = _carried(address) if inside else None
        return inside and (carried is None or self._in_networks(carried, port))


def _read_entry(entry: str) -> tuple[Network | str, int | None]:
    """Take one entry apart; errors say what is wrong with it, as the end of a sentence."""
    if "/" in entry:
        try:
            return ip_network(entry), None
        except ValueError as exc:
            raise ValueError(f"is not a network: {exc}") from None
    literal = _read_address(entry)
    if literal is not None:
        return ip_network(literal), None
    place, colon, digits = entry.rpartition(":")
    if not colon:
        return _read_host(entry), None
    if not (digits.isascii() and digits.isdigit() and 1 <= int(digits) <= 65535):
        raise ValueError("has a port that is not between 1 and 65535")
    literal = _read_address(place)
    if literal is not None:
        return ip_network(literal), int(digits)
    return _read_host(place), int(digits)


def _read_address(text: str) -> Address | None:
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        return ip_address(text)
    except ValueError:
        return None


def _read_host(text: str) -> str:
    if not _HOST.fullmatch(text):
        raise ValueError("is not a host (ASCII letters, digits, hyphens; other scripts as xn--…)")
    # A resolver takes `127.1` or `0x7f.1` for an address: surely a mistake in a list of names.
    if _NUMERIC_LABEL.fullmatch(text.rpartition(".")[2]):
        raise ValueError("is not a complete IP address, nor a host")
    return text
