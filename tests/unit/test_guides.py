"""Guides whose commands are run as they stand there, one after the other, on a ledger of their own."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import structlog
from click.testing import CliRunner

from celadon import beat_schedule, limits, queues
from celadon.cli import main
from tests.console import commands, fits
from tests.contract.pointed import pointed
from tests.ledgers import Ledgers
from tests.unit.test_docs import ROOT, blocks

NAMES = ("schedules", "limits", "pausing", "add-a-delegated-queue")
GUIDES = [ROOT / "docs" / "guides" / f"{name}.md" for name in NAMES]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_the_commands_of_a_guide_say_what_it_says(
    guide: Path, ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = commands(guide)
    assert len(run) > 5
    # As in a process of its own: who captures logs leaves them configured.
    monkeypatch.setattr(structlog, "is_configured", lambda: False)
    with pointed(ledger_url=ledgers.fresh("sqlite"), use_broker="false", ledger_timeout_s=5):
        for command, said in run:
            program, *words = shlex.split(command)
            assert program == "celadon", command
            output = CliRunner().invoke(main, words, prog_name="celadon").output
            assert fits(said, output), f"$ {command}\n{output}\nis not what the page says:\n{said}"


@pytest.mark.parametrize(("guide", "name"), [("schedules", "beat_schedule"), ("limits", "limits")])
def test_what_a_guide_writes_into_the_configuration_can_be_kept(
    guide: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (ROOT / "docs" / "guides" / f"{guide}.md").read_text()
    [code] = [code for _, code in blocks(page, "python") if f"\n{name} = {{" in f"\n{code}"]
    written: dict[str, Any] = {}
    exec(code, written)
    monkeypatch.setattr(queues.operators_file(), name, written[name])

    kept = beat_schedule.entries() if name == "beat_schedule" else limits.declared()

    assert len(kept) == len(written[name]) > 0
