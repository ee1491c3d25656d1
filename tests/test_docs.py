"""The documents are run: every ``sh`` and ``python`` block of README and docs, in order, in one folder a document."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(sh|python)( file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_every_block_of_a_document_runs(document: Path, tmp_path: Path) -> None:
    scripts = Path(sys.executable).parent
    environment = os.environ | {"DVSPREP_ROOT": str(tmp_path / "root"), "PATH": f"{scripts}:{os.environ['PATH']}"}
    for language, _, file, text in BLOCK.findall(document.read_text()):
        if file:
            (tmp_path / file).write_text(text)
            continue
        if "torch" in text:
            pytest.importorskip("torch", reason="this document feeds a PyTorch DataLoader")
        command = ["bash", "-euo", "pipefail", "-c", text] if language == "sh" else [sys.executable, "-c", text]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        # `head` closes the pipe early; that is the shell's business, not an error of ours.
        assert done.returncode in (0, 141), f"{document.name}:\n{text}\n{done.stderr}"


def test_every_command_and_its_flags_stand_in_readme() -> None:
    from dvsprep.cli import COMMANDS

    text = (ROOT / "README.md").read_text()
    assert [name for name in COMMANDS if f"`dvsprep {name}" not in text] == []


def test_no_file_is_longer_than_400_lines() -> None:
    sources = [p for folder in ("dvsprep", "train", "tests", "benchmarks") for p in (ROOT / folder).rglob("*.py")]
    assert {str(p): n for p in sources if (n := len(p.read_text().splitlines())) > 400} == {}
