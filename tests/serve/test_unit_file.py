"""The files of docs/service.md that no test can run name flags that there are."""

from __future__ import annotations

import re
from pathlib import Path

from dvsprep.cli.serve import command

TEXT = (Path(__file__).parents[2] / "docs" / "service.md").read_text()


def test_every_flag_of_the_document_is_one_of_the_command() -> None:
    known = {name for parameter in command.params for name in parameter.opts}
    commands = re.findall(r"dvsprep serve ([^`\n]*)", TEXT)
    named = {flag for line in commands for flag in re.findall(r"--[a-z-]+", line)}
    assert {"--token-file", "--json-log", "--allow-host"} <= named
    assert named - known == set()
    assert [flag for flag in known if flag not in TEXT and flag != "--help"] == []
