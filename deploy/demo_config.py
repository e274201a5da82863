"""The operator's file for the demo's default worker: the same, and orders can be held in their first step."""

from celeryconfig import *  # noqa: F403
from celeryconfig import imports as _imports

imports = (*_imports, "deploy.demo_hold")  # type: ignore[assignment]
