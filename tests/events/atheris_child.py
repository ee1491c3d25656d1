"""Coverage-guided fuzzing of one reader in a process of its own: atheris_child.py EXAMPLE RUNS."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["dvsprep.events"]):
    import event_files as ef
    import fuzz_child

    from dvsprep.errors import FormatError, LabelError, NotFoundError
    from dvsprep.events import detect


def main() -> None:
    which, runs = sys.argv[1], sys.argv[2]
    folder = Path(tempfile.mkdtemp())
    format, data = fuzz_child.whole_file(which, folder)
    seeds = folder / "seeds"
    seeds.mkdir()
    (seeds / "whole").write_bytes(data)
    read = {"salvage": True, "out_of_range": "drop", "unsorted": "sort"}

    def one(bad: bytes) -> None:
        for policy in ({}, read):
            try:
                assert len(ef.read(format, bad, folder, **policy).events["t"]) > 0
            except (FormatError, LabelError, NotFoundError):
                continue
        (folder / "any").write_bytes(bad)
        try:
            detect.detect(folder / "any")
        except FormatError:
            return

    atheris.Setup([sys.argv[0], f"-runs={runs}", "-timeout=30", "-rss_limit_mb=6000", str(seeds)], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
