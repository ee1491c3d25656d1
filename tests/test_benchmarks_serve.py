"""The benchmark of the service does what it says, in small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import serve

pytest.importorskip("torch", reason="it reads through torch's DataLoader")


def test_every_part_runs_without_an_error(tmp_path: Path) -> None:
    out = tmp_path / "serve.md"
    serve.main(["--quick", "--out", str(out), "--folder", str(tmp_path)])
    facts = json.loads(out.with_suffix(".json").read_text())
    assert facts["epoch"]["of disk"]["disk"] == 1.0
    assert facts["load"]["errors"] == facts["eight"]["errors"] == []
    assert facts["load"]["samples"] == serve.QUICK["clients"] * serve.QUICK["each"]
    text = out.read_text()
    assert f"| served | {facts['epoch']['samples/s']['served']:,} |" in text
    assert "0 errors" in text


def test_the_page_is_what_the_last_run_made() -> None:
    page = Path(serve.__file__).with_name("serve.md")
    assert page.read_text() == serve.page(json.loads(page.with_suffix(".json").read_text()))


def test_the_documents_quote_the_page() -> None:
    root = Path(serve.__file__).parents[1]
    facts = json.loads((root / "benchmarks" / "serve.json").read_text())
    served, mirror = (str(facts["epoch"]["of disk"][name]) for name in ("served", "mirror"))
    for document in ("README.md", "docs/service.md"):
        text = (root / document).read_text()
        assert f"{served} times" in text
        assert f"{mirror} times" in text
    assert f"{facts['load']['samples/s']:,} samples" in (root / "docs" / "service.md").read_text()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_clients_are_served_without_error_and_without_more_memory(tmp_path: Path) -> None:
    sizes = serve.QUICK | {"clients": 64, "each": 320}
    found = serve.load(serve.cache(tmp_path, sizes), sizes)
    assert (found["samples"], found["errors"]) == (64 * 320, [])  # each checksum was compared
    before, after = found["server MB"]
    assert after - before <= 16, found
