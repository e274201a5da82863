"""Who may be sent results, as the file says it."""

from __future__ import annotations

import pytest

from celadon.delegation.entries import KeySource, Receiver
from tests.unit.celadon.delegation.test_parsing import problems, table

QUEUES = "\n[queues]\n"


def test_a_receiver_has_keys_and_networks_of_its_own():
    made = table(
        '[callbacks]\nallowed = ["https://shop.example.org"]\n'
        '[callbacks."http://Hooks.example.org:8080/"]\nkeys = { env = "HOOK_KEYS" }\nnetworks = ["private"]\n' + QUEUES
    )

    assert made.callbacks == {
        "https://shop.example.org": Receiver(origin="https://shop.example.org"),
        "http://hooks.example.org:8080": Receiver(
            origin="http://hooks.example.org:8080", keys=KeySource(env="HOOK_KEYS"), networks=frozenset({"private"})
        ),
    }


def test_receivers_have_a_queue_and_slots():
    made = table('[callbacks]\nallowed = ["https://shop.example.org"]\n' + QUEUES)

    assert (made.queues, made.concurrency) == (("callbacks",), 16)
    assert (table("[callbacks]" + QUEUES).queues, table("[callbacks]" + QUEUES).concurrency) == ((), 0)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[callbacks]\nalowed = ["https://shop.example.org"]\n', "2: callbacks.alowed"),
        ('[callbacks."https://a.example/x"]\n', "an origin is meant, without a path"),
        ('[callbacks]\nallowed = ["https://a.example"]\n[callbacks."https://A.example/"]\n', "twice; keep one"),
        ('[callbacks."https://a.example"]\nnetwork = ["private"]\n', "there is no such field; did you mean 'networks'"),
        ('[callbacks."http://127.0.0.1:4010"]\n', "127.0.0.1 is not allowed: it is a loopback address"),
        ('[callbacks]\nallowed = ["http://169.254.169.254"]\n', "metadata of clouds"),
        ('[callbacks."http://169.254.169.254"]\nnetworks = ["private", "loopback"]\n', "metadata of clouds"),
        ('[callbacks."https://a.example"]\nkeys = { env = "whsec_abc" }\n', "a key stands in this file"),
    ],
)
def test_what_can_not_be_meant_is_told_with_its_line(text, told):
    assert any(told in problem for problem in problems(text + QUEUES))


def test_no_queue_has_the_name_of_theirs():
    services = '[services]\nmail = "https://mail.example"\n'
    assert any("results are told" in one for one in problems(services + '[queues.callbacks]\nservice = "mail"\n'))
