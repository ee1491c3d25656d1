"""The command line as a user has it: in this process where that is enough, in a process of its own where it is not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import dvsprep
from dvsprep.cli import main

STAGE = re.compile(r"(fetch|verify|extract|events|frames): (missing|partial|stale|done) \(")


@dataclass
class Outcome:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def talk(self) -> list[str]:
        """stderr without what a plan says of each stage."""
        return [line for line in self.err.splitlines() if not STAGE.match(line)]

    @property
    def error(self) -> str:
        """The message of a failure: one line, the last one, and no traceback."""
        assert self.code != 0, f"expected a failure, got:\n{self.out}\n{self.err}"
        assert "Traceback" not in self.err
        assert [line for line in self.err.splitlines() if line.startswith("dvsprep: ")] == self.talk[-1:]
        assert self.err.endswith("\n")
        return self.talk[-1].removeprefix("dvsprep: ")


@pytest.fixture
def run(capfd) -> Callable[..., Outcome]:
    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        return Outcome(code, *capfd.readouterr())

    return call


@pytest.fixture
def shell(tmp_path) -> Callable[..., Outcome]:
    """Run ``python -m dvsprep`` in a process of its own, in the test's folder."""

    def call(*arguments: object, **options: Any) -> Outcome:
        command = [sys.executable, "-m", "dvsprep", *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, **options)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return call


@dataclass
class Built:
    """The bundled sample, built once; nothing in it is to be changed."""

    root: Path
    train: Path
    test: Path
    events: Path


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Built:
    root = tmp_path_factory.mktemp("built")
    caches = dvsprep.frames("sample", root=root, split_by="number", T=8)
    train = caches["train"].path
    return Built(root, train, caches["test"].path, dvsprep.open(train, events=True).path)
