"""SEC-S: which URLs and addresses egress refuses."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keep_agent.errors import RefusedError
from keep_agent.transport.guard import Guard

STRICT = Guard(allow_private=False, own_ports=frozenset())
LOCAL = Guard(allow_private=True, own_ports=frozenset({8021}))

LOOPBACK = ("127.0.0.1", "127.255.255.254", "::1")
PRIVATE = ("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fd12::1")
CARRIER = ("100.64.0.1", "100.127.255.255")
NEVER = (
    "0.0.0.0",
    "0.1.2.3",
    "169.254.169.254",
    "169.254.0.1",
    "100.100.100.200",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "fd00:ec2::254",
    "2001:db8::1",
    "2001::7f00:1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "100::1",
    "64:ff9b:1::1",
    "::7f00:1",
    "::ffff:0:7f00:1",
)
WRAPPED = (
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
)
PUBLIC = ("8.8.8.8", "93.184.216.34", "2606:4700::1", "64:ff9b::808:808", "::ffff:8.8.8.8")
ODD = (
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "127.0.0.1..",
    "08.8.8.8",
    "1.2.3.4.5",
    "example.0x7f",
    "0x",
    "%31%32%37.0.0.1",
    "\uff11\uff12\uff17.0.0.1",
    "①②⑦.0.0.1",
    "127。0。0。1",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:0:0:1]",
    "[::1%25lo]",
)


def literal(address: str) -> str:
    return f"http://[{address}]/" if ":" in address else f"http://{address}/"


@pytest.mark.parametrize("address", [*LOOPBACK, *PRIVATE, *CARRIER, *NEVER, *WRAPPED])
def test_sec_s_denied_address_is_refused_resolved_and_literal(address: str) -> None:
    with pytest.raises(RefusedError):
        STRICT.address(address, 80)
    with pytest.raises(RefusedError):
        STRICT.url(literal(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_passes(address: str) -> None:
    STRICT.address(address, 443)
    assert STRICT.url(literal(address)).raw_host


@pytest.mark.parametrize("address", [*LOOPBACK, *PRIVATE, *CARRIER])
def test_a_refused_private_address_names_the_switch(address: str) -> None:
    with pytest.raises(RefusedError, match="allow_private_egress"):
        STRICT.address(address, 80)


@pytest.mark.parametrize("address", [*LOOPBACK, *PRIVATE, *CARRIER])
def test_the_off_switch_opens_private_networks(address: str) -> None:
    LOCAL.address(address, 80)


@pytest.mark.parametrize("address", NEVER)
def test_sec_s_the_off_switch_opens_nothing_else(address: str) -> None:
    with pytest.raises(RefusedError):
        LOCAL.address(address, 80)


@pytest.mark.parametrize("host", ODD)
def test_sec_s_odd_spelling_of_loopback_is_refused(host: str) -> None:
    with pytest.raises(RefusedError):
        STRICT.url(f"http://{host}/")


@pytest.mark.parametrize(
    "host",
    ["metadata.google.internal", "METADATA.google.internal.", "metadata", "instance-data"],
)
def test_sec_s_metadata_name_is_refused_even_on_local_networks(host: str) -> None:
    with pytest.raises(RefusedError, match="metadata"):
        LOCAL.url(f"http://{host}/computeMetadata/v1/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/d/x",
        "//example.com/",
        "example.com",
        "file:///etc/passwd",
        "ftp://example.com/",
        "gopher://example.com/",
        "javascript:alert(1)",
        "data:text/plain,x",
        "unix:///run/docker.sock",
        "ws://example.com/",
        "http://",
        "http:///x",
        "http://user@example.com/",
        "http://user:word@example.com/",
        "http://:word@example.com/",
        "http://example.com:0/",
        "http://example.com:65536/",
        "http://example.com:-1/",
        "http://example.com:8o/",
        "http://example.com\\@127.0.0.1/",
        "http://example.com\r\nHost: x/",
        "http://exa mple.com/",
        "http://exam\tple.com/",
        "http://[::1/",
        "http://a..b/",
        "http://.a/",
        "http://example.com/" + "a" * 9000,
    ],
)
def test_sec_s_url_that_is_no_plain_http_url_is_refused(url: str) -> None:
    with pytest.raises(RefusedError):
        LOCAL.url(url)


def test_sec_s_o05_https_only_refuses_http() -> None:
    with pytest.raises(RefusedError, match="not https"):
        STRICT.url("http://example.com/", https_only=True)
    assert str(STRICT.url("https://example.com/x?y=1", https_only=True)).endswith("/x?y=1")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_sec_s_own_port_is_refused_even_on_local_networks(address: str) -> None:
    with pytest.raises(RefusedError):
        LOCAL.address(address, 8021)
    LOCAL.address(address, 8022)


def test_sec_s_own_port_is_refused_on_every_address_of_this_machine() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.168.255.254", 9))  # sends nothing; picks our outward address
            ours = probe.getsockname()[0]
        except OSError:
            pytest.skip("no network but loopback")
    with pytest.raises(RefusedError):
        LOCAL.address(ours, 8021)


def test_the_same_port_of_another_machine_is_not_our_own() -> None:
    LOCAL.address("8.8.8.8", 8021)


@given(st.text())
def test_sec_s_any_text_is_a_url_or_refused(text: str) -> None:
    for url in (text, f"http://{text}/"):
        try:
            parsed = STRICT.url(url)
        except RefusedError:
            continue
        assert parsed.scheme in {"http", "https"}
        assert parsed.raw_host
