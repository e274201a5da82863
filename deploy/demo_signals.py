"""The files by which the demo and its default worker talk: named signals instead of guessed delays."""

from deploy.stack import ROOT

FOLDER = ROOT / "run" / "demo"
HOLD = FOLDER / "hold"  # While it is there, orders wait in their inventory step.
STRIKE = FOLDER / "strike"  # Whoever renames it goes on, takes its stock and waits before the commit.
STRUCK = FOLDER / "struck"
TAKEN = FOLDER / "taken"  # The id of the order that has.
