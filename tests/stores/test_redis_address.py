"""Connection strings in Feast's form and as URLs, and what is refused in them."""

import pytest
import redis

from knownat.errors import ConfigError
from knownat.stores.redis_address import redis_url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost:6379", "redis://localhost:6379/0"),
        ("localhost", "redis://localhost/0"),
        ("cache:6380,db=2", "redis://cache:6380/2"),
        ("cache:6380, db=2 ,ssl=true", "rediss://cache:6380/2"),
        ("cache:6380,ssl=false", "redis://cache:6380/0"),
        ("cache:1,password=a:b@c/d?e", "redis://:a%3Ab%40c%2Fd%3Fe@cache:1/0"),
        ('cache:1,username=me,password="007"', "redis://me:007@cache:1/0"),
        ("cache:1,password=007", "redis://:007@cache:1/0"),
        ("::1", "redis://[::1]/0"),
        ("[::1]:6379", "redis://[::1]:6379/0"),
        (
            "cache:1,ssl=true,ssl_cert_reqs=none,ssl_ca_certs=/a b/ca.pem",
            "rediss://cache:1/0?ssl_cert_reqs=none&ssl_ca_certs=%2Fa+b%2Fca.pem",
        ),
        ("cache:1,socket_timeout=0.05,socket_connect_timeout=0.05,retry=null", "redis://cache:1/0"),
        ("redis://:pw@cache:1/3", "redis://:pw@cache:1/3"),
        ("rediss://cache?ssl_cert_reqs=none&socket_timeout=9", "rediss://cache?ssl_cert_reqs=none"),
        ("unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
    ],
)
def test_a_connection_string_becomes_a_url_that_redis_reads(text: str, url: str) -> None:
    assert redis_url(text) == url
    redis.ConnectionPool.from_url(url)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a:1,b:2", "names 2 servers"),
        ("db=1", "names 0 servers"),
        ("", "names 0 servers"),
        ("cache:1,databse=1", r"has options \['databse'\] that are not known"),
        ("redis://cache?protocol=3", r"has options \['protocol'\]"),
        ("redis://cache/first", "has '/first' for the number of a database"),
        ("redis:///0", "names no host"),
        ("unix://", "names no socket's path"),
        ("http://cache", "begins with none of"),
        ("cache:port", "has no usable host and port"),
        ("cache:99999", "has no usable host and port"),
        ("cache:1,db=x", "has '/x' for the number of a database"),
    ],
)
def test_what_can_not_be_meant_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=f"connection_string:\n- {why}"):
        redis_url(text)


def test_a_password_is_in_no_message() -> None:
    with pytest.raises(ConfigError) as caught:
        redis_url("a:1,b:2,password=secret,what=x")
    assert "secret" not in str(caught.value)
