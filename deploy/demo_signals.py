"""The files by which the demos and their workers talk: named signals instead of guessed delays."""

from deploy.stack import ROOT

FOLDER = ROOT / "run" / "demo"
HOLD = FOLDER / "hold"  # While it is there, orders wait in their inventory step.
STRIKE = FOLDER / "strike"  # Whoever renames it goes on, takes its stock and waits before the commit.
STRUCK = FOLDER / "struck"
TAKEN = FOLDER / "taken"  # The id of the order that has.

LIMITS_FOLDER = ROOT / "run" / "demo-limits"
LIMITS_HISTORY = LIMITS_FOLDER / "history"  # A line for each order that began or ended: when, in which process.

DELEGATION_FOLDER = ROOT / "run" / "demo-delegation"
