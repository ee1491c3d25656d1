"""Killed at any moment, interrupted, or out of space: the next run ends with the bytes of an undisturbed one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import making
import pytest

import dvsprep
from dvsprep import cache

FRAMES = ("--split-by", "number", "-T", 4)


def frames_command(root: Path) -> list[str]:
    return making.command("frames", "sample", "--root", root, *FRAMES)


def finish(root: Path) -> None:
    """Run the command undisturbed; it must not need a second attempt."""
    run = making.dvsprep("frames", "sample", "--root", root, *FRAMES)
    assert (run.returncode, "Traceback" in run.stderr) == (0, False), run.stderr


def assert_nothing_is_half_done(root: Path) -> None:
    """Check that whatever has a final name is whole."""
    for path in root.rglob("*.h5"):
        if not path.name.startswith("."):
            assert cache.damaged(dvsprep.open(path)) == []


def left_behind(root: Path) -> list[str]:
    """Return what the rooms tested here left; the download folder has tests of its own."""
    return [name for name in making.leftovers(root) if not name.startswith("sample/download")]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the hashes of the caches of a build that nobody disturbed."""
    root = tmp_path_factory.mktemp("undisturbed")
    finish(root)
    caches = making.caches(root)
    assert len(caches) == 4  # events and frames of train and test
    assert making.leftovers(root) == []
    return caches


def check_kills(tmp_path: Path, undisturbed: dict[str, str], moments: list[float]) -> None:
    reached = set()
    for k, moment in enumerate(moments):
        root = tmp_path / str(k)
        process = subprocess.Popen(frames_command(root), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(moment)
        process.kill()
        reached.add(process.communicate()[1].count("\n"))
        assert_nothing_is_half_done(root)
        finish(root)
        assert making.caches(root) == undisturbed
        assert left_behind(root) == []
    assert len(reached) > 1, "every kill came at the same stage"


def test_killed_at_random_moments(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    check_kills(tmp_path, undisturbed, [0.1 + 0.6 * k + 0.2 * random.random() for k in range(4)])


@pytest.mark.slow
def test_killed_at_twenty_random_moments(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    check_kills(tmp_path, undisturbed, [0.2 + 0.08 * k + 0.1 * random.random() for k in range(20)])


@pytest.mark.slow
def test_killed_again_and_again_it_still_gets_there(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    for _ in range(12):
        process = subprocess.Popen(
            frames_command(tmp_path / "root"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(0.4 + 0.8 * random.random())
        process.kill()
        process.wait()
        assert_nothing_is_half_done(tmp_path / "root")
    finish(tmp_path / "root")
    assert making.caches(tmp_path / "root") == undisturbed
    assert left_behind(tmp_path / "root") == []


# Each is run before or after the n-th call of a function, in a process of its own.
AT = {
    "the first batch of samples": ("spool.Spool.append", 1, "after"),
    "the middle of the batches": ("spool.Spool.append", 2, "after"),
    "the HDF5 file before its first chunk": ("write.Column.create", 1, "after"),
    "the HDF5 file between two chunks": ("write.Column.write", 50, "before"),
    "the end, the spool still there": ("spool.Spool.discard", 1, "before"),
    "the rename, the spool gone": ("spool.Spool.discard", 1, "after"),
    "what follows the rename": ("write.publish", 1, "after"),
}
DISTURB = """
import os, signal, sys
from dvsprep.cache import build, spool, write
from dvsprep.cli import main

def disturb(place, number, when, signal):
    module, *names, last = place.split(".")
    owner = {"spool": spool, "write": write}[module]
    for name in names:
        owner = getattr(owner, name)
    whole, calls = getattr(owner, last), 0
    def function(*arguments, **how):
        nonlocal calls
        calls += 1
        this = calls == number  # told now: two threads may be in it
        if when == "before" and this:
            os.kill(os.getpid(), signal)
        result = whole(*arguments, **how)
        if when == "after" and this:
            os.kill(os.getpid(), signal)
        return result
    setattr(owner, last, function)

disturb(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
sys.exit(main(sys.argv[5:]))
"""


def disturbed(root: Path, place: str, number: int, when: str, sign: int) -> subprocess.CompletedProcess[str]:
    """Build with a signal sent from inside."""
    arguments = [place, str(number), when, str(int(sign)), *frames_command(root)[3:]]
    return subprocess.run([sys.executable, "-c", DISTURB, *arguments], capture_output=True, text=True, check=False)


def some_slow(all: Iterable[object], *fast: object) -> list[object]:
    """Return parameters of which only a few run every time."""
    return [one if one in fast else pytest.param(one, marks=pytest.mark.slow) for one in all]


@pytest.mark.parametrize("moment", some_slow(AT, "the HDF5 file between two chunks", "the rename, the spool gone"))
def test_killed_at_a_chosen_moment(tmp_path: Path, undisturbed: dict[str, str], moment: str) -> None:
    run = disturbed(tmp_path, *AT[moment], signal.SIGKILL)
    assert run.returncode == -signal.SIGKILL
    assert_nothing_is_half_done(tmp_path)
    finish(tmp_path)
    assert making.caches(tmp_path) == undisturbed
    assert making.leftovers(tmp_path) == []


def test_ctrl_c_is_130_and_one_line_and_the_next_run_goes_on(tmp_path: Path, undisturbed: dict[str, str]) -> None:
    run = disturbed(tmp_path, "spool.Spool.append", 1, "after", signal.SIGINT)
    assert run.returncode == 130
    assert "Traceback" not in run.stderr
    assert [line for line in run.stderr.splitlines() if line.startswith("dvsprep:")] == run.stderr.splitlines()[-1:]
    assert not [*(tmp_path / "sample" / "events").glob("*.h5")]
    held = {path: path.stat().st_size for path in tmp_path.rglob("*.spool")}
    assert max(held.values()) > 10_000
    again = making.dvsprep("frames", "sample", "--root", tmp_path, *FRAMES)
    assert again.returncode == 0
    assert "going on with the samples of an unfinished build" in again.stderr
    assert making.caches(tmp_path) == undisturbed
    assert making.leftovers(tmp_path) == []


@pytest.mark.parametrize("builds", some_slow([2, 4], 2))
def test_builds_of_one_cache_at_once_all_succeed_with_one_result(
    tmp_path: Path, undisturbed: dict[str, str], builds: int
) -> None:
    processes = [
        subprocess.Popen(frames_command(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(builds)
    ]
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0] * builds, outputs
    assert len({out for out, _ in outputs}) == 1
    assert making.caches(tmp_path) == undisturbed
    assert making.leftovers(tmp_path) == []


# -- no space --


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 12 MB: the archive fits, and not all of the rest."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(mount)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("only root can mount a small file system")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


@pytest.mark.parametrize("free_kb", some_slow([3000, 2400, 1500, 200], 3000))
def test_a_full_disk_is_exit_6_and_one_line_and_the_next_run_goes_on(
    tiny_disk: Path, undisturbed: dict[str, str], free_kb: int
) -> None:
    root = tiny_disk / "root"
    assert making.dvsprep("fetch", "sample", "--root", root).returncode == 0
    from dvsprep.pipeline import Job

    Job("sample", root)._do_verify()
    free = os.statvfs(tiny_disk).f_bavail * os.statvfs(tiny_disk).f_frsize
    ballast = tiny_disk / "ballast"
    ballast.write_bytes(bytes(free - free_kb * 1024))
    run = making.dvsprep("frames", "sample", "--root", root, *FRAMES)
    assert run.returncode == 6, run.stderr
    assert "Traceback" not in run.stderr
    assert len([line for line in run.stderr.splitlines() if line.startswith("dvsprep:")]) == 1
    assert "No space left" in run.stderr
    assert not [path for path in left_behind(root) if not path.endswith((".spool", ".stash"))]
    assert_nothing_is_half_done(root)
    ballast.unlink()
    finish(root)
    assert making.caches(root) == undisturbed
    assert making.leftovers(root) == []
