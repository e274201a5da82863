"""`python -m tests.guarantees G8 [--short]`: run one guarantee's proof and print its figures; 1 if a bar was missed."""

from __future__ import annotations

import sys
import tempfile
from importlib import import_module
from pathlib import Path

from benchmarks.figures import Figures

LONG_FORMS = ("G3", "G4", "G7", "G8", "G9", "G10", "G11", "G13", "G16")


def main() -> int:
    words = [word for word in sys.argv[1:] if word != "--short"]
    if len(words) != 1 or words[0] not in LONG_FORMS:
        print(f"usage: python -m tests.guarantees GUARANTEE [--short]; one of {', '.join(LONG_FORMS)}", file=sys.stderr)
        return 2
    module = import_module(f"tests.guarantees.g{int(words[0][1:]):02}")
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="celadon-") as folder:
        module.measure(figures, Path(folder), long="--short" not in sys.argv)
    return figures.close()


if __name__ == "__main__":
    sys.exit(main())
