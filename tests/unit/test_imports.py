"""The import table: who may know whom. It keeps business code free of Celery and the platform free of shops.

| package           | may import                       | may not                                        |
|-------------------|----------------------------------|------------------------------------------------|
| `celeryconfig`    | stdlib, kombu, celery.schedules  | ours                                           |
| `services`        | `services`                       | `celadon` `tasks` `web`, Celery, Flask         |
| `celadon`         | `celadon`                        | `services` `tasks` `web`                       |
| `celadon_feature` | `celadon_feature`                | `celadon`; a library outside its extra's file  |
| `tasks`           | `celadon` `services`             | `web`, sibling tasks                           |
| `web`             | `celadon` `services`             | `tasks`                                        |

Besides: the environment is read in two files, and one function sends messages.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("celadon", "celadon_feature", "services", "tasks", "web", "deploy", "examples")
OURS = {*PACKAGES, "celeryconfig", "tests", "benchmarks"}

MAY_IMPORT_OF_OURS = {
    "services": {"services"},
    "celadon": {"celadon"},
    "celadon_feature": {"celadon_feature"},
    "tasks": {"celadon", "services"},
    "web": {"web", "celadon", "services"},
    "deploy": {"deploy", "celeryconfig", "celadon", "celadon_feature", "tasks", "services", "web"},
    "examples": {"celadon", "celadon_feature", "examples"},
}
FORBIDDEN_LIBRARIES = {"services": {"celery", "kombu", "flask", "flower", "redis"}}
# A service that receives jobs installs nothing with the kit but the extras that it chose.
LIBRARIES_OF_EXTRAS = {
    "celadon_feature.flask": {"flask", "werkzeug"},
    "celadon_feature.stores.redis": {"redis"},
    "celadon_feature.stores.sql": {"sqlalchemy"},
}
READS_ENVIRONMENT = {"celeryconfig", "celadon.settings"}


def modules() -> Iterator[tuple[str, str]]:
    """Every module of the product, as dotted name (a package's own as `package.__init__`) and source."""
    yield "celeryconfig", (ROOT / "celeryconfig.py").read_text()
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            yield ".".join(file.relative_to(ROOT).with_suffix("").parts), file.read_text()


def imported(module: str, tree: ast.AST) -> Iterator[str]:
    """Dotted names that it imports, also inside functions, relatively, and by `import_module("…")`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            # `from tasks import orders` imports a module as much as `import tasks.orders` does.
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and called(node) in {"import_module", "__import__"}:
            names = [first.value for first in node.args[:1] if isinstance(first, ast.Constant)]
            yield from (name for name in names if isinstance(name, str))


def called(call: ast.Call) -> str:
    """The last part of the name that is called."""
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def violations(module: str, source: str) -> list[str]:
    """What the module does that the table does not allow, in words."""
    tree, package, found = ast.parse(source), module.split(".")[0], []
    for name in imported(module, tree):
        top = name.split(".")[0]
        if package == "celeryconfig":
            allowed = top in sys.stdlib_module_names | {"kombu"} or name.startswith("celery.schedules")
        elif package == top == "tasks":
            allowed = name.split(".")[1:2] == module.split(".")[1:2]  # Its own module, no sibling.
        elif top in OURS:
            allowed = top in MAY_IMPORT_OF_OURS[package]
        elif package == "celadon_feature":
            allowed = top in sys.stdlib_module_names | LIBRARIES_OF_EXTRAS.get(module, set())
        else:
            allowed = top not in FORBIDDEN_LIBRARIES.get(package, ())
        if not allowed:
            found.append(f"{module} imports {name}")
    if module not in READS_ENVIRONMENT:
        found += [f"{module}:{line} reads the environment" for line in environment_reads(tree)]
    return found


def environment_reads(tree: ast.AST) -> Iterator[int]:
    names = {"environ", "environb", "getenv", "getenvb"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in names and getattr(node.value, "id", "") == "os":
            yield node.lineno
        if isinstance(node, ast.ImportFrom) and node.module == "os" and names & {a.name for a in node.names}:
            yield node.lineno


def senders(module: str, source: str) -> list[str]:
    """The functions of the module that call `send_task`."""
    return [
        f"{module}.{function.name}"
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and called(node) == "send_task"
    ]


@pytest.mark.parametrize(("module", "source"), [pytest.param(*m, id=m[0]) for m in modules()])
def test_a_module_keeps_to_the_import_table(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_one_function_sends_messages() -> None:
    found = [name for module, source in modules() for name in senders(module, source)]
    assert len(found) == 1, found
    assert found[0].startswith("celadon.")


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("services.orders.steps", "import celadon"),
        ("services.orders.steps", "from celadon.ledger import session"),
        ("services.orders.steps", "def f():\n    import flask"),
        ("services.mail", "import celery"),
        ("celadon.submit", "from web import create_app"),
        ("celadon.app", "import celeryconfig"),
        ("celadon.app", "importlib.import_module('tasks.orders')"),
        ("celadon.app", "from celadon_feature import new_key"),
        ("celadon_feature.work", "from celadon import errors"),
        ("celadon_feature.asgi", "from flask import request"),
        ("tasks.orders", "from tasks import reports"),
        ("tasks.orders", "from .reports import build"),
        ("tasks.orders", "from web.api import x"),
        ("web.api.orders", "from tasks.orders import process"),
        ("celeryconfig", "from tasks.orders import process"),
        ("celeryconfig", "from celery import Celery"),
        ("celeryconfig", "import requests"),
        ("web.app", "import os\nPORT = os.environ['PORT']"),
        ("celadon.app", "import os\nos.getenv('X')"),
        ("celadon.app", "from os import environ"),
    ],
)
def test_a_breach_of_the_table_is_caught(module: str, source: str) -> None:
    assert len(violations(module, source)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("tasks.orders", "from celadon import job\nfrom services.orders import workflow"),
        ("web.api.orders", "from celadon import submit\nfrom services.orders import place"),
        ("web.__init__", "from .problems import problem"),
        ("celeryconfig", "import os\nfrom kombu import Queue\nfrom celery.schedules import crontab"),
        ("celeryconfig", "import os\nos.environ.get('X')"),
        ("celadon.settings", "import os\nos.environ"),
        ("celadon_feature.flask", "import hmac\nfrom flask import request\nfrom celadon_feature import Feature"),
    ],
)
def test_what_the_table_allows_passes(module: str, source: str) -> None:
    assert violations(module, source) == []


def test_a_second_sender_is_caught() -> None:
    source = "def a():\n    app.send_task('x')\n\ndef b():\n    self.app.send_task('y')"
    assert senders("celadon.x", source) == ["celadon.x.a", "celadon.x.b"]
