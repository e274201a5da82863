"""The operator's file for `make demo-limits`: the same, and orders take their time and are noted."""

from celeryconfig import *  # noqa: F403
from celeryconfig import imports as _imports

imports = (*_imports, "deploy.demo_pace")  # type: ignore[assignment]
