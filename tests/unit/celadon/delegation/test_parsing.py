"""`delegation.toml` becomes a table, or every problem is told with its line and the cure."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from celadon import lanes
from celadon.delegation import entry, file, own_headers
from celadon.delegation.entries import Entry, KeySource, Rate, Table
from celadon.delegation.parsing import Pool, parse
from celadon.errors import InvalidTable
from celadon.limits import MOST
from celadon.settings import Settings
from tests.contract.pointed import pointed

ROOT = Path(__file__).parents[4]
POOL = Pool(concurrency=256, timeout_s=900, taken={"default": "default", "data_sync": "data_sync"})
SERVICES = '[services]\nmail = "https://mail.example.org"\nlocal = "http://127.0.0.1:4010"\n'


def table(text: str) -> Table:
    return parse(text, "delegation.toml", POOL)


def email(fields: str) -> Entry:
    """The entry of a queue with these fields, which begin in line 6."""
    text = f'{SERVICES}[queues.email]\nservice = "mail"\n{fields}\n'
    return table(text).entries["email"]


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidTable) as refused:
        table(text)
    assert str(refused.value) == "\n".join(refused.value.problems)
    return list(refused.value.problems)


def problem(fields: str) -> str:
    """The only problem of a queue with these fields."""
    (told,) = problems(f'{SERVICES}[queues.email]\nservice = "mail"\n{fields}\n')
    return told


def test_an_entry_may_say_everything():
    made = email(
        """
path = "/jobs/email"
concurrency = 10
timeout = 15000
connect_timeout = 500
first_byte_timeout = 10_000
attempts = 7
backoff = "fixed"
backoff_ms = 2500
rate = "100/2s"
headers = { X-Team = "mail", X-Stage = "test 1" }
keys = { env = "MAIL_SIGNING_KEYS" }
networks = ["loopback", "private"]
ports = [81]
max_answer_bytes = 1000
"""
    )

    assert made == Entry(
        queue="email",
        service="mail",
        path="/jobs/email",
        concurrency=10,
        timeout_s=15.0,
        connect_s=0.5,
        first_byte_s=10.0,
        attempts=7,
        backoff="fixed",
        backoff_s=2.5,
        rate=Rate(starts=100, per_s=2.0),
        headers=made.headers,
        keys=KeySource(env="MAIL_SIGNING_KEYS"),
        networks=frozenset(("loopback", "private")),
        ports=frozenset((81,)),
        max_answer_bytes=1000,
    )
    assert dict(made.headers) == {"X-Team": "mail", "X-Stage": "test 1"}


def test_what_an_entry_leaves_out_is_as_the_platforms_settings_say():
    with pointed(
        queue_concurrency_default=2, queue_timeout_default=1500, queue_retry_attempts=9, queue_retry_backoff="fixed"
    ):
        changed = email("")
    plain = email("")

    assert (plain.concurrency, plain.timeout_s, plain.attempts, plain.backoff) == (5, 30.0, 3, "exponential")
    assert (plain.path, plain.connect_s, plain.first_byte_s, plain.backoff_s) == ("/internal/process-job", 2, None, 1)
    assert (plain.rate, plain.keys, dict(plain.headers), plain.networks) == (None, None, {}, frozenset())
    assert (changed.concurrency, changed.timeout_s, changed.attempts, changed.backoff) == (2, 1.5, 9, "fixed")
    assert changed.connect_s == 1.5  # It is a part of the timeout.


def test_other_defaults_make_another_table():
    text = f'{SERVICES}[queues.email]\nservice = "mail"\n'
    with pointed(queue_timeout_default=1500):
        changed = table(text)

    assert changed.digest != table(text).digest == table(text).digest


def test_the_resolver_and_the_callbacks_are_read():
    made = table(
        '[resolver]\nkind = "dns"\nage_s = 5\ntemplate = "http://{service}.features.svc.cluster.local:8080"\n'
        '[callbacks]\nallowed = ["https://Shop.example.org/", "http://hooks:8080"]\n'
        '[queues.email]\nservice = "mail"\n'
    )

    assert made.resolver.age == timedelta(seconds=5)
    assert made.resolver.template == "http://{service}.features.svc.cluster.local:8080"
    assert set(made.callbacks) == {"https://shop.example.org", "http://hooks:8080"}


def test_a_file_may_have_no_queues_but_not_say_nothing():
    assert dict(table("[queues]\n").entries) == {}
    for nothing in ("", "\n", "# [queues.email]\n"):  # As an editor leaves it for a moment, while it writes.
        assert problems(nothing) == [
            "delegation.toml:1: the file says nothing; to have no delegated queues, write an empty table [queues]"
        ]


def test_every_problem_is_told_at_once_in_the_order_of_the_file():
    text = """[resolver]
age = 30
[services]
mail = "ftp://mail"
[queues.email]
service = "male"
concurency = 10
timeout = "15s"
[queues.default]
[queue.sms]
service = "mail"
"""
    assert problems(text) == [
        "delegation.toml:2: resolver.age: there is no such field; did you mean 'age_s'?",
        "delegation.toml:4: services.mail: 'ftp://mail' is not allowed: it has to begin with http:// or https://",
        "delegation.toml:6: queues.email.service='male': it is not in [services]; did you mean 'mail'?",
        "delegation.toml:7: queues.email.concurency: there is no such field; did you mean 'concurrency'?",
        "delegation.toml:8: queues.email.timeout='15s': a whole number from 1 to 1000000000 ms is meant",
        'delegation.toml:9: queues.default: it has no service; say where its jobs go, such as service = "mail"',
        "delegation.toml:9: queues.default: the lane 'default' of celeryconfig works a queue of this name; give it "
        "another",
        "delegation.toml:10: queue: there is no such field; did you mean 'queues'?",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "[queues.a]\n\n[queues.b]\n[queues.a]\n",
            ":4: queues.a stands here for the second time, first in line 1; keep one",
        ),
        (
            "[queues.a]\nservice = 'x'\nservice = 'y'\n",
            ":3: queues.a.service stands here for the second time, first in",
        ),
        ("[queues.a]\nservice = \n", ":2: this is no TOML: Invalid value"),
        ("[queues.a\n", ":1: this is no TOML: Expected ']'"),
        ("[queues.a]\nheaders = { A = 'x'\n", ":2: this is no TOML: "),
        ("a = " + "[" * 5000, ":1: this is no TOML: "),
        ("a = " + "1" * 5000, ":1: this is no TOML: "),
    ],
)
def test_what_can_not_be_read_is_told_with_its_line(text, told):
    assert problems(text)[0].startswith(f"delegation.toml{told}")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("concurrency = 0", "concurrency=0: a whole number from 1 to 100000 is meant"),
        ("concurrency = true", "concurrency=True: a whole number"),
        ("concurrency = 2.0", "concurrency=2.0: a whole number"),
        ('concurrency = "ten"', "concurrency='ten': a whole number"),
        ("attempts = 0", "attempts=0: a whole number from 1 to 100"),
        ("attempts = 101", "attempts=101"),
        ("timeout = 0", "timeout=0: a whole number from 1 to 1000000000 ms"),
        ("timeout = 450001", "timeout=450001: at most 450000 ms are allowed, since the lane ends a run after 900 s"),
        ("connect_timeout = 30001", "connect_timeout=30001: it is a part of the timeout, which is 30000 ms"),
        ("first_byte_timeout = 30001", "first_byte_timeout=30001: it is a part of the timeout"),
        ('backoff = "linear"', "backoff='linear': one of exponential, fixed is meant"),
        ("backoff_ms = -1", "backoff_ms=-1: a whole number from 0 to 3600000 ms"),
        ("max_answer_bytes = 99999999", "max_answer_bytes=99999999: a whole number from 1 to 16777216"),
        ('rate = "fast"', 'rate=\'fast\': starts in a window are meant, such as "100/1s", "10/m" or "500/2h"'),
        ('rate = "0/1s"', "rate='0/1s': starts=0: a whole number from 1"),
        ('rate = "10/0.5s"', "rate='10/0.5s': per_s=0.5: from 1 s"),
        ('rate = "10/25h"', "rate='10/25h': per_s=90000.0: from 1 s to 86400 s"),
        ("rate = 10", "rate=10: a text in quotes is meant"),
        ('path = "jobs"', "path='jobs': a plain path is meant, such as '/internal/process-job'"),
        ('path = "/jobs/"', "without a slash at its end"),
        ('path = "/a/../b"', "a plain path is meant"),
        ('path = "/a?b=c"', "a plain path is meant"),
        ('path = "/a\\r\\nX: y"', "a plain path is meant"),
        ('networks = "loopback"', "networks='loopback': a list of networks, such as [\"loopback\"], is meant"),
        ('networks = ["lopback"]', "networks: there is no network 'lopback'; did you mean 'loopback'?"),
        ("ports = [0]", "ports: there is no port 0"),
        ("ports = [true]", "ports=[True]: a list of ports"),
        ('headers = "X"', "headers='X': a table is meant; write [queues.email.headers] and its fields below it"),
        ("tiemout = 5", "tiemout: there is no such field; did you mean 'timeout'?"),
        ("colour = 5", "colour: there is no such field; there are attempts, backoff"),
    ],
)
def test_a_value_that_can_not_be_meant_is_told_with_what_can(fields, told):
    line, _, what = problem(fields).partition(": ")

    assert line == "delegation.toml:6"
    assert f"queues.email.{told}" in what or told in what


@pytest.mark.parametrize(
    ("rate", "meant"),
    [
        ("100/1s", Rate(starts=100, per_s=1)),
        ("10/s", Rate(starts=10, per_s=1)),
        ("30/1.5s", Rate(starts=30, per_s=1.5)),
        ("60/m", Rate(starts=60, per_s=60)),
        ("500/2h", Rate(starts=500, per_s=7200)),
    ],
)
def test_a_rate_is_starts_in_a_window(rate, meant):
    assert email(f'rate = "{rate}"').rate == meant


@pytest.mark.parametrize(
    "name",
    [
        *("Host", "content-length", "Content-Type", "Transfer-Encoding", "Connection", "TE", "Expect", "Upgrade"),
        *("Idempotency-Key", "traceparent", "TraceState", "webhook-id", "Webhook-Signature", "Proxy-Authorization"),
        *("Accept-Encoding", "X-Forwarded-For"),
    ],
)
def test_a_header_of_the_platforms_own_is_refused(name):
    assert f"headers.{name}: this header is the platform's own or the connection's; leave it out" in problem(
        f'headers = {{ {name} = "x" }}'
    )


@pytest.mark.parametrize(
    "name",
    [
        *("Authorization", "cookie", "X-API-Key", "X-Secret", "X-Access-Token", "X-Vault-Token", "X-Auth-Key"),
        *("Private-Token", "X-Internal-Key", "X-Jwt", "X-Team-Pass"),
    ],
)
def test_a_header_that_holds_a_secret_is_refused_without_showing_it(name):
    told = problem(f'headers = {{ {name} = "Bearer abcdef" }}')

    assert "secrets do not stand in this file; deliveries are signed" in told
    assert "abcdef" not in told


@pytest.mark.parametrize(
    "header",
    [
        '"X-A" = "b\\r\\nHost: evil"',
        '"X-A" = "b\\nc"',
        '"X-A" = "b\\u0000"',
        '"X-A" = "bücher"',
        '"X-A" = ""',
        '"X-A" = " b"',
        '"X-A" = 5',
        f'"X-A" = "{"b" * 1001}"',
        '"X-A\\r\\nHost" = "b"',
        '"X A" = "b"',
        '"X-A:" = "b"',
        '"" = "b"',
        'X-A = "b", x-a = "c"',
    ],
)
def test_what_would_be_another_header_or_none_is_refused(header):
    assert problem(f"headers = {{ {header} }}").startswith("delegation.toml:6: queues.email.headers.")


def test_there_are_not_too_many_headers():
    many = ", ".join(f'X-{number} = "x"' for number in range(own_headers.MOST + 1))
    assert "21 headers are too many; 20 are allowed" in problem(f"headers = {{ {many} }}")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ('"whsec_c2VjcmV0"', "keys do not stand here"),
        ('{ env = "whsec_c2VjcmV0" }', "a key stands in this file; make a new one"),
        ('{ file = "whsec_c2VjcmV0" }', "a key stands in this file"),
        ("{}", "one of env and file is meant, and only one"),
        ('{ env = "A", file = "/b" }', "only one"),
        ('{ env = "A B" }', "env has to be the name of a variable"),
    ],
)
def test_keys_are_named_and_never_shown(keys, told):
    said = problem(f"keys = {keys}")

    assert told in said
    assert "c2Vjc" not in said


def test_keys_may_be_in_a_file():
    assert email('keys = { file = "/run/secrets/mail" }').keys == KeySource(file="/run/secrets/mail")


@pytest.mark.parametrize(
    ("name", "fine"),
    [
        ("email", True),
        ("image-gen_2.fast", True),
        ("x" * 100, True),
        ("x" * 101, False),
        ("", False),
        ("a b", False),
        ("a/b", False),
        ("-a", False),
        ("bücher", False),
        ("a\\u0000", False),
    ],
)
def test_a_queues_name_is_one_that_the_ledger_and_a_url_can_hold(name, fine):
    text = f'{SERVICES}[queues."{name}"]\nservice = "mail"\n'
    if fine:
        assert list(table(text).entries) == [name]
    else:
        (told,) = problems(text)
        assert "is no name for a queue; 1 to 100 letters, digits, dots" in told


# --- where jobs would go


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://127.0.0.1:4010", 'loopback address; if it is meant, add networks = ["loopback"]'),
        ("http://localhost:4010", "its host localhost (127.0.0.1) is not allowed"),
        ("http://[::1]:4010", "its host ::1 is not allowed"),
        ("http://0x7f.1:4010", "its host 0x7f.1 (127.0.0.1) is not allowed"),
        ("http://10.1.2.3:4010", 'add networks = ["private"]'),
        ("http://169.254.169.254", "metadata of clouds and link-local addresses are never allowed"),
        ("http://2852039166", "its host 2852039166 (169.254.169.254) is not allowed: metadata"),
        ("http://[::ffff:169.254.169.254]", "metadata"),
        ("http://0.0.0.0:4010", "an address of no service"),
        ("http://mail.example.org:22", "its port 22 is not allowed; 80, 443 and those from 1024 are, and what `ports`"),
    ],
)
def test_a_target_that_is_not_allowed_is_told_where_the_queue_names_it(url, told):
    (said,) = problems(f'[services]\nx = "{url}"\n[queues.email]\nservice = "x"\n')

    assert said.startswith("delegation.toml:4: queues.email.service='x': its ")
    assert told in said


def test_what_the_entry_allows_is_allowed_and_a_name_is_judged_at_each_delivery():
    made = table(
        '[services]\nx = "http://127.0.0.1:81/base"\ny = "https://mail.example.org"\n'
        '[queues.email]\nservice = "x"\nnetworks = ["loopback"]\nports = [81]\n'
        '[queues.sms]\nservice = "y"\n'
    )

    assert set(made.entries) == {"email", "sms"}


@pytest.mark.parametrize(
    ("resolver", "told"),
    [
        ('kind = "consul"', ":2: resolver.kind='consul': one of dns, static is meant"),
        ('kind = "dns"', ':1: resolver.template: kind = "dns" needs one, such as'),
        ('kind = "dns"\ntemplate = "http://mail.local"', ":3: resolver.template: 'http://mail.local' does not hold"),
        ('kind = "dns"\ntemplate = "http://{service}.{service}.local"', ":3: resolver.template: "),
        ('kind = "dns"\ntemplate = "http://x.local/{service}"', ":3: resolver.template: "),
        ('kind = "dns"\ntemplate = "{service}.local"', ":3: resolver.template: "),
        ('template = "http://{service}.local"', ':2: resolver.template: it is for kind = "dns"'),
        ("age_s = 0", ":2: resolver.age_s=0: a whole number from 1 to 86400 s"),
        ("age_s = 1.5", ":2: resolver.age_s=1.5"),
    ],
)
def test_a_resolver_that_could_not_resolve_is_refused(resolver, told):
    assert problems(f"[resolver]\n{resolver}\n[queues]\n")[0].startswith(f"delegation.toml{told}")


def test_a_map_that_nobody_would_read_is_refused_and_names_of_dns_are_looked_at():
    dns = '[resolver]\nkind = "dns"\ntemplate = "http://{service}.local"\n'

    assert problems(f'{dns}[services]\nmail = "http://m"\n[queues]\n') == [
        'delegation.toml:4: services: [services] is for kind = "static"; with "dns" the template finds them'
    ]
    for wrong in ("Mail", "mail_x", "-mail", "mail.", "a/b", "a#", "x" * 64):
        (told,) = problems(f'{dns}[queues.email]\nservice = "{wrong}"\n')
        assert "a name in DNS has lower-case letters, digits and dashes" in told


def test_a_template_whose_host_is_an_inner_one_is_refused_like_a_service():
    (told,) = problems(
        '[resolver]\nkind = "dns"\ntemplate = "http://{service}.localhost:4010"\n[queues.email]\nservice = "mail"\n'
    )

    assert "its host mail.localhost (127.0.0.1) is not allowed" in told


@pytest.mark.parametrize(
    ("allowed", "told"),
    [
        ('"https://shop.example.org"', "a list of origins"),
        ('["shop.example.org"]', "has to begin with http:// or https://"),
        ('["https://shop.example.org/hook"]', "an origin is meant, without a path: https://shop.example.org"),
        ('["https://shop.example.org:25"]', "port 25 is not allowed"),
        ('["https://me:pw@shop.example.org"]', "user or password"),
    ],
)
def test_a_callback_goes_to_an_origin(allowed, told):
    (said,) = problems(f"[callbacks]\nallowed = {allowed}\n[queues]\n")

    assert said.startswith("delegation.toml:2: callbacks.allowed")
    assert told in said


def test_concurrencies_that_the_lane_has_no_slots_for_are_refused_with_the_reason():
    text = SERVICES + "".join(
        f'[queues.q{number}]\nservice = "mail"\nconcurrency = {size}\n' for number, size in enumerate((100, 150, 7))
    )

    assert problems(text) == [
        "delegation.toml:9: queues.q1.concurrency: the concurrencies of all queues make 257, and there are 256 "
        "slots, so a hung endpoint could take another queue's; lower some (the largest is this, 150), or raise the "
        "concurrency of the lane in celeryconfig.lanes, and of its workers"
    ]
    assert table(text.replace("= 7", "= 6")).concurrency == 256


def test_bounds_that_stand_twice_are_the_same():
    fields = {
        name: Settings.model_fields[name].metadata for name in ("queue_concurrency_default", "queue_retry_attempts")
    }
    most = {name: next(bound.le for bound in bounds if hasattr(bound, "le")) for name, bounds in fields.items()}

    assert most == {"queue_concurrency_default": entry.MOST_AT_A_TIME, "queue_retry_attempts": entry.MOST_ATTEMPTS}
    assert entry.MOST_AT_A_TIME == MOST


# --- the project's own


def test_the_projects_own_file_has_its_example_queues_and_fits_its_lane():
    made = parse((ROOT / "delegation.toml").read_text(), "delegation.toml", file.pool())

    assert len(made.entries) == 38
    assert {"email", "image-gen", "analytics", "payment-sync", "content-mod"} <= set(made.entries)
    stated = {name: (made.entries[name].concurrency, made.entries[name].timeout_s) for name in made.entries}
    assert (stated["email"], stated["image-gen"], stated["analytics"]) == ((10, 15.0), (3, 60.0), (5, 30.0))
    assert made.concurrency <= lanes.declared()[lanes.DELEGATED].concurrency


def test_the_projects_own_file_shows_what_an_entry_may_say_and_needs_no_key_to_be_read(monkeypatch):
    text = (ROOT / "delegation.toml").read_text()
    for name in re.findall(r'env = "(\w+)"', text):
        monkeypatch.delenv(name, raising=False)

    made = parse(text, "delegation.toml", file.pool())

    entries = made.entries.values()
    assert all(one.keys for one in (*entries, *made.callbacks.values()))
    shown = Counter(field for one in tomllib.loads(text)["queues"].values() for field in one)
    assert [field for field in ("path", "timeout", "attempts", "rate", "headers") if shown[field] < 5] == []
    assert {type(one.keys.env) for one in entries} == {str, type(None)}


def test_a_thousand_queues_are_read_in_a_moment():
    text = SERVICES + "".join(
        f'[queues.q{number}]\nservice = "mail"\nconcurrency = 1\ntimeout = 1000\n' for number in range(1000)
    )

    made = parse(text, "delegation.toml", Pool(concurrency=1000, timeout_s=900, taken={}))

    assert (len(made.entries), made.concurrency) == (1000, 1000)
