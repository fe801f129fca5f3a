"""Which addresses the outgoing door may dial, and what the setting may say."""

import re
from ipaddress import ip_address
from pathlib import Path
from typing import get_args

import pytest

from activities.clients.egress import PUBLIC_PORTS, SETTING, Egress, address_class
from activities.clients.http import MAX_BYTES, Code, HttpDoorError

PAGE = Path(__file__).parents[2] / "docs/reference/egress.md"

SPECIAL = {
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "10.0.0.1": "private",
    "10.255.255.255": "private",
    "100.64.0.1": "shared (carrier) private",
    "100.100.100.200": "shared (carrier) private",
    "100.127.255.255": "shared (carrier) private",
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "168.63.129.16": "cloud platform",
    "169.254.0.1": "link-local",
    "169.254.169.254": "link-local",
    "169.254.170.2": "link-local",
    "172.16.0.1": "private",
    "172.31.255.255": "private",
    "192.0.0.1": "protocol assignment",
    "192.0.0.192": "protocol assignment",
    "192.0.2.1": "documentation",
    "192.31.196.1": "AS112",
    "192.52.193.1": "multicast tunnel",
    "192.88.99.1": "6to4 relay",
    "192.168.1.1": "private",
    "192.175.48.1": "AS112",
    "198.18.0.1": "benchmarking",
    "198.19.255.255": "benchmarking",
    "198.51.100.7": "documentation",
    "203.0.113.7": "documentation",
    "224.0.0.1": "multicast",
    "239.255.255.250": "multicast",
    "240.0.0.1": "reserved",
    "255.255.255.255": "reserved",
    "::": "unspecified",
    "::1": "loopback",
    "::2": "IPv4-compatible",
    "::127.0.0.1": "IPv4-compatible",
    "::ffff:127.0.0.1": "IPv4-mapped",
    "::ffff:10.0.0.1": "IPv4-mapped",
    "::ffff:100.64.0.1": "IPv4-mapped",
    "::ffff:169.254.169.254": "IPv4-mapped",
    "::ffff:8.8.8.8": "IPv4-mapped",
    "::ffff:0:127.0.0.1": "IPv4-translated",
    "64:ff9b::7f00:1": "NAT64",
    "64:ff9b::a9fe:a9fe": "NAT64",
    "64:ff9b::808:808": "NAT64",
    "64:ff9b:1::1": "local NAT64",
    "100::1": "discard-only",
    "2001::1": "Teredo",
    "2001:0:4136:e378:8000:63bf:80ff:fffe": "Teredo",
    "2001:2::1": "protocol assignment",
    "2001:10::1": "protocol assignment",
    "2001:20::1": "protocol assignment",
    "2001:db8::1": "documentation",
    "2002:7f00:1::": "6to4",
    "2002:a9fe:a9fe::1": "6to4",
    "2002:808:808::1": "6to4",
    "2620:4f:8000::1": "AS112",
    "2a00:1450::5efe:7f00:1": "ISATAP",
    "2a00:1450::200:5efe:a00:1": "ISATAP",
    "3ffe::1": "retired 6bone",
    "3fff::1": "documentation",
    "4000::1": "reserved",
    "5f00::1": "reserved",
    "fc00::1": "private (unique local)",
    "fd00:ec2::254": "private (unique local)",
    "fd20:ce::254": "private (unique local)",
    "fe80::1": "link-local",
    "fe80::a9fe:a9fe": "link-local",
    "fe80::1%1": "link-local",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
    "ff0e::1": "multicast",
}
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.255.255.255",
    "11.0.0.0",
    "100.63.255.255",
    "100.128.0.0",
    "126.255.255.255",
    "128.0.0.1",
    "168.63.129.15",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "192.169.0.0",
    "198.17.255.255",
    "198.20.0.0",
    "223.255.255.255",
    "2001:200::1",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001:82a::200e",
]


def refusal(
    egress: Egress, address: str, port: int = 443, host: str = "some.example"
) -> str | None:
    return egress.refusal(host, port, ip_address(address))


def test_the_list_of_special_addresses_is_long_enough() -> None:
    assert len(SPECIAL) >= 52


@pytest.mark.parametrize(("address", "name"), SPECIAL.items())
def test_a_special_address_is_refused_by_its_class(address: str, name: str) -> None:
    assert address_class(ip_address(address)) == name
    assert refusal(Egress(), address) == f"is a {name} address"


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_dialled(address: str) -> None:
    assert refusal(Egress(), address) is None


def test_public_hosts_are_open_on_web_ports_only() -> None:
    ports = (22, 25, 80, 443, 6379, 8080, 8443, 9000)
    allowed = [port for port in ports if refusal(Egress(), "1.1.1.1", port) is None]
    assert allowed == [80, 443, 8080, 8443]
    assert "port 25" in str(refusal(Egress(), "1.1.1.1", 25))


@pytest.mark.parametrize(
    ("setting", "host", "address", "port", "allowed"),
    [
        ("127.0.0.0/8", "x", "127.9.9.9", 7233, True),
        ("127.0.0.0/8", "x", "128.0.0.1", 7233, False),
        ("10.1.2.3", "x", "10.1.2.3", 1, True),
        ("10.1.2.3", "x", "10.1.2.4", 1, False),
        ("10.1.2.3:9000", "x", "10.1.2.3", 9000, True),
        ("10.1.2.3:9000", "x", "10.1.2.3", 9001, False),
        ("[::1]:9000", "x", "::1", 9000, True),
        ("[::1]:9000", "x", "::1", 9001, False),
        ("::1", "x", "::1", 9001, True),
        ("[::1]", "x", "::1", 9001, True),
        ("fd00::/8", "x", "fd12::1", 80, True),
        ("127.0.0.0/8", "x", "::ffff:127.0.0.1", 80, False),
        ("::/0", "x", "fd12::1", 80, True),
        ("::/0", "x", "::ffff:127.0.0.1", 80, False),
        ("::/0", "x", "64:ff9b::a9fe:a9fe", 80, False),
        ("::/0", "x", "2002:7f00:1::", 80, False),
        ("::/0", "x", "2001:0:1:2::80ff:fffe", 80, False),
        ("::/0,0.0.0.0/0", "x", "::ffff:127.0.0.1", 80, True),
        ("internal.example", "internal.example", "10.0.0.1", 5000, True),
        ("Internal.Example", "INTERNAL.example.", "10.0.0.1", 5000, True),
        ("internal.example", "a.internal.example", "10.0.0.1", 80, False),
        ("internal.example", "notinternal.example", "10.0.0.1", 80, False),
        ("internal.example:8080", "internal.example", "10.0.0.1", 80, False),
        ("internal.example:8080", "internal.example", "10.0.0.1", 8080, True),
        ("*.corp.example", "a.b.corp.example", "10.0.0.1", 80, True),
        ("*.corp.example", "corp.example", "10.0.0.1", 80, False),
        ("*.corp.example", "evilcorp.example", "10.0.0.1", 80, False),
        ("*.corp.example:81", "a.corp.example", "10.0.0.1", 80, False),
        (" 10.0.0.0/8 ,\n internal.example , ", "internal.example", "192.168.0.1", 1, True),
        ("api.example:9000", "api.example", "1.1.1.1", 9000, True),
    ],
)
def test_what_the_setting_allows(
    setting: str, host: str, address: str, port: int, allowed: bool
) -> None:
    assert (refusal(Egress.parse(setting), address, port, host) is None) is allowed


def test_nothing_is_allowed_by_an_empty_setting() -> None:
    assert Egress.parse("") == Egress.parse(" , ") == Egress()


@pytest.mark.parametrize(
    "entry",
    [
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/8:80",
        "fd00::/129",
        "*",
        "*.",
        "a.*.example",
        "host:0",
        "host:65536",
        "host:http",
        "host:",
        "[::1",
        "127.0.0.1]:80",
        "[::1]:",
        "http://internal.example",
        "user@internal.example",
        "bücher.example",
        "two words",
        "127.1",
        "0x7f.1",
        "2130706433",
        "300.1.1.1",
        "-/-",
    ],
)
def test_a_wrong_entry_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match=SETTING) as caught:
        Egress.parse(f"10.0.0.0/8, {entry}")
    assert repr(entry) in str(caught.value)


def test_the_page_says_what_the_code_does() -> None:
    text = PAGE.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (yes|no) \|", text, re.MULTILINE))
    codes: tuple[Code, ...] = get_args(Code)
    assert rows == {c: "yes" if HttpDoorError(c, "").retryable else "no" for c in codes}
    allows = text.split("| entry | allows |")[1].split("\n\n")[0]
    column = "".join(line.split("|")[1] for line in allows.splitlines() if "`" in line)
    entries = re.findall(r"`([^`]+)`", column)
    assert len(entries) == 8
    for entry in entries:
        assert Egress.parse(entry) != Egress()
    first, *others, last = sorted(PUBLIC_PORTS)
    assert f"on ports {', '.join(map(str, [first, *others]))} and {last}." in text
    assert f"| answer | {MAX_BYTES >> 20} MiB" in text
