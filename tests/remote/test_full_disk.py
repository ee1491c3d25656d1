"""A disk that is really full, below the mirror and below `dvsprep pull`: a tmpfs of a few hundred kilobytes."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import making
import pytest

import dvsprep
from dvsprep import cache
from dvsprep.errors import DiskError

SIZE = 256 << 10


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a disk that is smaller than the sample's frames."""
    if not hasattr(os, "getuid") or os.getuid() != 0:
        pytest.skip("only root can mount a small disk")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"this root cannot mount: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(disk: Path) -> None:
    """Leave nothing free."""
    with (disk / "ballast").open("wb", buffering=0) as file:
        with pytest.raises(OSError, match="No space left"):
            os.posix_fallocate(file.fileno(), 0, 2 * SIZE)
        for _ in range(SIZE // 4096 + 1):
            if shutil.disk_usage(disk).free == 0:
                return
            file.write(bytes(4096))
    raise AssertionError("the disk does not fill up")


@pytest.mark.parametrize("full_before", [False, True], ids=["fills up", "full"])
def test_reading_goes_on_without_a_mirror(
    service: str, frames_id: str, frames: cache.FrameCache, disk: Path, full_before: bool,
    monkeypatch: pytest.MonkeyPatch, caplog: Any,
) -> None:  # fmt: skip
    if full_before:
        fill(disk)
    monkeypatch.setenv("DVSPREP_ROOT", str(disk))
    source = dvsprep.open(f"{service}/v1/caches/{frames_id}")
    for _ in range(2):
        found = [item for start in range(0, 72, 8) for item in source.__getitems__(range(start, start + 8))]
        assert [making.digest(*item) for item in found] == making.digests(frames)
        source._mirror.flush()
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 1, told
    assert "no longer kept there" in told[0]
    # Another process finds what is there as it should be, or not at all.
    again = dvsprep.open(f"{service}/v1/caches/{frames_id}")
    assert [making.digest(*again[i]) for i in (0, 71)] == [making.digest(*frames[i]) for i in (0, 71)]


def test_a_pull_is_told_and_goes_on_when_there_is_room(
    service: str, frames_id: str, frames: cache.FrameCache, disk: Path
) -> None:
    whole = frames.path.read_bytes()
    assert len(whole) > SIZE
    arguments = ("pull", f"{service}/v1/caches/{frames_id}", "--root", disk)
    done = making.dvsprep(*arguments)
    assert done.returncode == DiskError.exit_code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.strip().splitlines()
    assert "No space left" in line
    assert str(disk) in line
    assert list(disk.rglob("*.h5")) == [] or all(path.name.startswith(".") for path in disk.rglob("*.h5"))
    subprocess.run(["mount", "-o", f"remount,size={4 * len(whole)}", disk], check=True)
    done = making.dvsprep(*arguments)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).read_bytes() == whole
