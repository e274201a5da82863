"""What `import celadon` costs: nothing until a name is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import celadon

HEAVY = ("celery", "kombu", "sqlalchemy", "pydantic", "flask", "structlog")


def loaded_by(code: str) -> set[str]:
    """The packages that a fresh interpreter has loaded after `code`."""
    program = f"import sys\n{code}\nprint(*(name for name in sys.modules if '.' not in name))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    return set(done.stdout.split())


@pytest.mark.parametrize("code", ["import celadon", "from celadon import errors; errors.Permanent"])
def test_the_package_alone_loads_none_of_its_libraries(code):
    assert loaded_by(code) & set(HEAVY) == set()


def test_every_public_name_is_listed_typed_and_found_in_its_home():
    tree = ast.parse(Path(str(celadon.__file__)).read_text())
    typed = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    assert typed == celadon._HOME
    assert {*typed, "errors"} == set(celadon.__all__) <= set(dir(celadon))
    for name, home in typed.items():
        assert getattr(celadon, name) is getattr(import_module(str(home)), name)


def test_submit_is_the_function_even_when_its_module_is_imported_first():
    program = (
        "import celadon.submit, celadon; from celadon import submit; print(callable(celadon.submit), submit.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)

    assert done.stdout.split() == ["True", "submit"]


def test_a_name_that_there_is_not_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'celadon' has no attribute 'sumbit'"):
        celadon.sumbit  # noqa: B018
