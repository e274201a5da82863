"""Declaring jobs: what can't hold is refused at once, with the value and the cure."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest

from celadon import job, registry
from celadon.app import app
from celadon.errors import DeclarationError, InvalidPayload, UnknownJob, UnknownQueue


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_definitions", dict(registry._definitions))
    app.tasks.pop("unit.paint", None)


class Colour(Enum):
    GREEN = "green"


def paint(wall: str, coats: int = 1, colour: Colour = Colour.GREEN, when: datetime | None = None) -> None:
    """Paint a wall."""


def declared(function: Callable[..., Any] = paint, **options: Any) -> registry.Definition:
    return job("unit.paint", **options)(function).definition


def test_a_declared_job_is_the_plain_function_when_it_is_called():
    def plain(a: int, b: int) -> int:
        """Add."""
        return a + b

    add = job("unit.add")(plain)

    assert add(1, b=2) == 3
    assert (add.name, add.__doc__) == ("unit.add", "Add.")
    assert registry.get("unit.add").function is add.__wrapped__ is plain


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"attempts": 0}, "attempts=0: at least 1"),
        ({"backoff": timedelta(seconds=-1)}, "backoff=.*can't be negative"),
        ({"timeout": timedelta(0)}, "timeout=0:00:00: must be longer than nothing"),
        ({"fallback": "pray"}, "fallback='pray': one of inline, defer, refuse"),
        ({"keep": -1}, "keep=-1"),
        ({"scope": "order"}, "scope='order' must use the payload's fields"),
        ({"scope": "order:{order_id}"}, r"scope=.*\(wall, coats"),
        ({"scope": "{}"}, "must use the payload's fields"),
        ({"scope": "wall:{wall"}, "scope='wall:{wall' is no format string"),
        ({"permanent": ValueError}, r"permanent=.*a tuple of exception classes"),
        ({"permanent": ("ValueError",)}, "permanent="),
        ({"scope": "wall:}"}, "scope='wall:}' is no format string"),
        ({"permanent": (ValueError("no class"),)}, "permanent="),
        ({"permanent": (KeyboardInterrupt,)}, "permanent="),
        ({"permanent": [ValueError]}, "permanent="),
        ({"alert_after": 0}, "alert_after=0: at least 1"),
        ({"keep_bytes": -1}, "keep_bytes=-1"),
        ({"keep_dead_for": timedelta(days=-1)}, "keep_dead_for="),
        ({"keep_for": timedelta(days=-1)}, "keep_for="),
    ],
)
def test_an_option_that_can_not_hold_is_refused_with_its_value(options, told):
    with pytest.raises(DeclarationError, match=f"Job 'unit.paint': .*{told}"):
        declared(**options)

    assert "unit.paint" not in registry.known()


def test_a_queue_that_no_lane_works_is_refused():
    with pytest.raises(UnknownQueue, match="'nope'"):
        declared(queue="nope")


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_name_has_1_to_200_characters(name):
    with pytest.raises(DeclarationError, match="1 to 200 characters"):
        job(name)(paint)


def with_rest(*rest: int) -> None: ...
def with_more(**more: int) -> None: ...
def with_positions(a: int, /) -> None: ...


@pytest.mark.parametrize("function", [with_rest, with_more, with_positions])
def test_a_parameter_that_can_be_no_field_is_refused(function):
    with pytest.raises(DeclarationError, match="can't be a payload field; name each field as a plain parameter"):
        declared(function)


def test_an_async_function_is_refused():
    async def later() -> None: ...

    with pytest.raises(DeclarationError, match=r"async functions are not run; declare a plain function"):
        declared(later)


def test_one_name_is_one_job_but_a_module_may_be_imported_again():
    def other(wall: str) -> None: ...

    declared()
    declared()

    with pytest.raises(DeclarationError, match="is declared twice, in .*; give one another name"):
        declared(other)


def test_a_script_that_is_run_may_be_imported_by_its_name_too(tmp_path):
    script = tmp_path / "script_with_a_job.py"
    script.write_text("from celadon import job\n\n\n@job('unit.paint')\ndef paint(wall: str) -> None: ...\n")
    runpy.run_path(str(script), run_name="__main__")
    app.tasks.pop("unit.paint")

    runpy.run_path(str(script), run_name="script_with_a_job")

    assert registry.get("unit.paint").function.__module__ == "script_with_a_job"


def test_however_the_script_was_named(tmp_path, monkeypatch):
    script = tmp_path / "script_with_a_job.py"
    script.write_text("from celadon import job\n\n\n@job('unit.paint')\ndef paint(wall: str) -> None: ...\n")
    (tmp_path / "link.py").symlink_to(script)
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(["./script_with_a_job.py", f"../{tmp_path.name}/script_with_a_job.py", "link.py"]):
        runpy.run_path(name, run_name=f"under_another_name_{number}")
        app.tasks.pop("unit.paint")

    assert registry.get("unit.paint").function.__module__ == "under_another_name_2"


def test_two_functions_under_one_decorator_are_two(tmp_path):
    (tmp_path / "wrapping.py").write_text(
        "import functools\n\n\ndef logged(function):\n    @functools.wraps(function)\n"
        "    def wrapper(wall: str) -> None:\n        function(wall)\n\n    return wrapper\n"
    )
    logged = runpy.run_path(str(tmp_path / "wrapping.py"))["logged"]
    for name in ("one", "other"):
        (tmp_path / f"{name}.py").write_text("@job('unit.paint')\n@logged\ndef paint(wall: str) -> None: ...\n")
    runpy.run_path(str(tmp_path / "one.py"), {"job": job, "logged": logged}, "one")

    with pytest.raises(DeclarationError, match="is declared twice, in one and other"):
        runpy.run_path(str(tmp_path / "other.py"), {"job": job, "logged": logged}, "other")


def test_two_functions_of_no_file_are_two():
    code = "@job('unit.paint')\ndef paint(wall: str) -> None: ...\n"
    exec(code, {"job": job, "__name__": "one"})

    with pytest.raises(DeclarationError, match="is declared twice, in one and other"):
        exec(code, {"job": job, "__name__": "other"})


def test_the_modules_of_jobs_are_imported_at_the_first_name_that_is_not_known(monkeypatch):
    monkeypatch.setattr("celadon.app.load", declared)

    assert registry.get("unit.paint").name == "unit.paint"


def test_an_unknown_name_is_told_with_the_nearest_one():
    declared()

    with pytest.raises(UnknownJob, match="No job 'unit.pant' is declared; did you mean 'unit.paint'") as error:
        registry.get("unit.pant")
    assert error.value.name == "unit.pant"


def test_an_unknown_name_far_from_all_is_told_with_all():
    declared()

    with pytest.raises(UnknownJob, match="declared are: .*unit.paint"):
        registry.get("zzzzzzzz")


def test_a_payload_becomes_plain_json_with_its_defaults():
    moment = datetime(2026, 1, 1, tzinfo=UTC)

    plain = declared().validate({"wall": "north", "when": moment})

    assert plain == {"wall": "north", "coats": 1, "colour": "green", "when": "2026-01-01T00:00:00Z"}


def test_the_function_gets_the_types_that_it_declares():
    plain = {"wall": "north", "coats": "3", "colour": "green", "when": "2026-01-01T00:00:00Z"}

    assert declared().arguments(plain) == {
        "wall": "north",
        "coats": 3,
        "colour": Colour.GREEN,
        "when": datetime(2026, 1, 1, tzinfo=UTC),
    }


def test_every_problem_of_a_payload_is_told():
    with pytest.raises(InvalidPayload, match="does not fit 'unit.paint'") as error:
        declared().validate({"coats": "many", "colour": "mauve", "extra": 1})

    assert [problem.split(":")[0] for problem in error.value.problems] == ["wall", "coats", "colour", "extra"]


def test_the_steps_are_no_part_of_the_payload():
    def work(wall: str, steps: Any) -> None: ...

    made = declared(work)

    assert made.takes_steps
    assert made.validate({"wall": "north"}) == {"wall": "north"}
    with pytest.raises(InvalidPayload, match="steps"):
        made.validate({"wall": "north", "steps": []})


def test_a_business_key_is_made_of_the_payload():
    assert declared(scope="wall:{wall}/{coats}").scope_of({"wall": "north", "coats": 2}) == "wall:north/2"
    assert declared().scope_of({"wall": "north"}) is None


@pytest.mark.parametrize("wall", ["x" * 200, "a\x00b", "a\udc80b"], ids=ascii)
def test_a_business_key_that_can_not_be_stored_is_refused(wall):
    with pytest.raises(InvalidPayload, match="1 to 200 are allowed, none of them NUL"):
        declared(scope="wall:{wall}").scope_of({"wall": wall, "coats": 2})


@pytest.mark.parametrize("payload", [None, 7, "wall", ["wall"]])
def test_a_payload_that_is_no_mapping_is_refused_in_words(payload):
    with pytest.raises(InvalidPayload, match=f"The payload of 'unit.paint' is {type(payload).__name__}; give a map"):
        declared().validate(payload)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_field_that_is_no_number_is_refused(number):
    def pay(amount: float) -> None: ...

    with pytest.raises(InvalidPayload, match="amount"):
        declared(pay).validate({"amount": number})


def test_the_dead_are_kept_for_ever_unless_declared_otherwise():
    assert declared().keep_dead_for is None
    assert declared(keep_dead_for=timedelta(days=30)).keep_dead_for == timedelta(days=30)


def test_a_decimal_survives_a_round_trip():
    def pay(amount: Decimal) -> None: ...

    made = declared(pay)

    assert made.arguments(made.validate({"amount": Decimal("0.10")})) == {"amount": Decimal("0.10")}


@pytest.mark.parametrize(("own", "expected"), [(None, "defer"), ("inline", "inline")])
def test_the_fallback_is_the_jobs_own_or_that_of_the_queues_lane(own, expected):
    assert declared(fallback=own).fallback_on("data_sync") == expected
