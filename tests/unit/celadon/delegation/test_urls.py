"""What a URL may look like, before anybody looks up its host."""

from __future__ import annotations

import pytest

from celadon.delegation.urls import is_path, parse
from celadon.errors import TargetNotAllowed


@pytest.mark.parametrize(
    ("text", "origin", "path"),
    [
        ("http://mail:4010", "http://mail:4010", ""),
        ("https://Mail.Example.org/", "https://mail.example.org", ""),
        ("https://mail.example.org:443/a/b/", "https://mail.example.org", "/a/b"),
        ("http://mail:80", "http://mail", ""),
        ("http://[::1]:4010/x", "http://[::1]:4010", "/x"),
        ("http://[2001:DB8::1]", "http://[2001:db8::1]", ""),
        ("http://xn--bcher-kva.example", "http://xn--bcher-kva.example", ""),
        ("http://mail_service.local.:8080", "http://mail_service.local.:8080", ""),
        ("http://127.1:65535", "http://127.1:65535", ""),
    ],
)
def test_a_plain_url_is_taken_apart(text: str, origin: str, path: str) -> None:
    url = parse(text)

    assert (url.origin, url.path, str(url)) == (origin, path, origin + path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("ftp://mail", "has to begin with http:// or https://"),
        ("file:///etc/passwd", "has to begin with"),
        ("gopher://mail:70/x", "has to begin with"),
        ("//mail", "has to begin with"),
        ("mail", "has to begin with"),
        ("", "has to begin with"),
        ("http://", "'' is no host"),
        ("http:///path", "'' is no host"),
        ("http://me@mail", "with a user or password"),
        ("http://me:secret@mail", "with a user or password"),
        ("http://good.example\\@bad.example", "with a user or password"),
        ("http://mail#.good.example", "no `#`"),
        ("http://mail/#x", "no `#`"),
        ("http://mail/?x=1", "no `\\?`"),
        ("http://mail/\r\nHost: evil", "printable ASCII"),
        ("http://mail /x", "printable ASCII"),
        ("http://mail\x00.example", "printable ASCII"),
        ("http://bücher.example", "in their `xn--` form"),
        ("http://mail\u3002example", "printable ASCII"),
        ("http://mail%2eexample", "is no host"),
        ("http://mail\\x", "is no host"),
        ("http://-mail", "is no host"),
        ("http://[::1", "is not allowed"),
        ("http://[::1]x:8080/", "is no host"),
        ("http://[::1].example.org", "is no host"),
        ("http://[fe80::1%25eth0]", "is no host"),
        ("http://::1", "is not allowed"),
        ("http://mail:0", "port 0 is not allowed"),
        ("http://mail:22", "port 22 is not allowed; 80, 443 and those from 1024 are"),
        ("http://mail:99999", "Port out of range"),
        ("http://mail:x", "is not allowed"),
        ("http://mail/a/../b", "is no plain path"),
        ("http://mail//b", "is no plain path"),
        ("http://mail/%2e%2e/b", "is no plain path"),
        ("http://mail/" + "x" * 2000, "is not allowed"),
    ],
)
def test_anything_else_is_refused(text: str, told: str) -> None:
    with pytest.raises(TargetNotAllowed, match=told) as refused:
        parse(text)

    assert "secret" not in str(refused.value)


def test_a_port_below_1024_is_allowed_by_name() -> None:
    assert parse("http://mail:81", {81}).port == 81
    with pytest.raises(TargetNotAllowed, match="port 82"):
        parse("http://mail:82", {81})


def test_a_path_can_have_a_jobs_id_put_behind_it() -> None:
    assert [path for path in ("/a", "/internal/process-job", "/a:b/c@d") if not is_path(path)] == []
    wrong = ["", "/", "a", "/a/", "//a", "/a//b", "/../a", "/a/.", "/a?b", "/a#b", "/a b", "/a%0d", "/a\n", "/{id}"]
    assert [path for path in wrong if is_path(path)] == []
