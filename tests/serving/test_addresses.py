"""Where a scorer listens: only loopback without keys, each worker's operators on a port of their own."""

import socket

import pytest

from knownat.errors import ConfigError
from serving.addresses import bind_admin, bind_public, is_loopback, url_of, urls_of


@pytest.mark.parametrize(
    ("host", "only_here"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("localhost.example.org", False),
        ("", False),
    ],
)
def test_an_address_is_this_machines_own_or_not(host, only_here):
    assert is_loopback(host) is only_here


def test_each_worker_has_the_port_after_the_one_before():
    for _ in range(50):
        (free,) = bind_admin(0, 1)
        port = free.getsockname()[1]
        free.close()
        try:
            bound = bind_admin(port, 3)
        except ConfigError:
            continue  # One of them is somebody else's.
        assert urls_of(bound) == [f"http://127.0.0.1:{port + n}" for n in range(3)]
        for one in bound:
            one.close()
        return
    pytest.fail("no three ports in a row were free in fifty tries")


def test_a_port_beyond_all_ports_is_named():
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:65536:\n- cannot be bound: the last port is 65535"):
        bind_admin(65_536, 1)


def test_an_address_of_version_six_is_told_in_brackets():
    with socket.socket(socket.AF_INET6) as bound:
        assert url_of(bound) == "http://[::]:0"


def test_an_address_of_version_six_is_bound_as_one():
    try:
        with bind_public("::1", 0, keys=None) as bound:
            told = url_of(bound)
    except ConfigError as refused:
        told = str(refused)

    # Where this machine has no such address, that is said, and nothing of names or families.
    assert told.startswith("http://[::1]:") or "Cannot assign requested address" in told
