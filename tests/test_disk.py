"""Files appear whole or not at all, replace nothing they should not, and a temporary tells whose it is."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from dvsprep import disk
from dvsprep.errors import DiskError, UsageError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# -- whole --


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("mine"), OSError(errno.ENOSPC, "full")])
@pytest.mark.parametrize("replace", [False, True])
def test_a_failure_leaves_what_was_there(tmp_path, error, replace):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    expected = DiskError if isinstance(error, OSError) else type(error)

    def half() -> None:
        with disk.whole(path, replace=replace) as file:
            file.write(b"half")
            raise error

    with pytest.raises(expected):
        half()
    assert (path.read_bytes(), names(tmp_path)) == (b"old", ["a"])


def test_an_error_names_the_file_and_not_the_temporary(tmp_path):
    with pytest.raises(DiskError, match=r"^.*/none/a: No such file or directory \(it cannot be made there"):
        disk.write_whole(tmp_path / "none" / "a", b"")
    with pytest.raises(DiskError, match=r"^/else/where: Permission denied"), disk.whole(tmp_path / "a"):
        raise PermissionError(errno.EACCES, "Permission denied", "/else/where")


@pytest.mark.parametrize("links", [True, False])
def test_without_replace_only_the_very_same_file_may_be_there(tmp_path, monkeypatch, links):
    if not links:
        monkeypatch.setattr(Path, "hardlink_to", lambda *_: (_ for _ in ()).throw(OSError(errno.EPERM, "no links")))
    disk.write_whole(tmp_path / "a", b"one", replace=False)
    disk.write_whole(tmp_path / "a", b"one", replace=False)
    with pytest.raises(UsageError, match=r"a exists, and is not the same"):
        disk.write_whole(tmp_path / "a", b"two", replace=False)
    assert ((tmp_path / "a").read_bytes(), names(tmp_path)) == (b"one", ["a"])
    disk.write_whole(tmp_path / "a", b"two")
    assert ((tmp_path / "a").read_bytes(), names(tmp_path)) == (b"two", ["a"])
    assert (tmp_path / "a").stat().st_nlink == 1


@pytest.mark.parametrize("replace", [False, True])
def test_a_folder_or_device_is_never_replaced(tmp_path, replace):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(UsageError, match=f"{name} exists"):
            disk.write_whole(tmp_path / name, b"", replace=replace)
    assert names(tmp_path) == ["folder", "pipe"]


# -- whose --


CHILD = "import time; from dvsprep import disk; print(disk.tag(), flush=True); time.sleep(60)"


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    yield process
    process.kill()
    process.communicate()


def test_a_killed_process_that_nobody_reaped_has_let_go(tmp_path, child):
    path = tmp_path / f"x.{child.stdout.readline().strip()}"
    path.touch()
    assert disk.abandoned(tmp_path, "x.") == []
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
    os.kill(child.pid, 0)
    assert disk.abandoned(tmp_path, "x.") == [path]


def test_a_later_process_of_the_same_number_owns_nothing(tmp_path):
    pid, machine, started, rest = disk.tag().split("-")
    mine = tmp_path / f"x.{pid}-{machine}-{started}-{rest}"
    before = tmp_path / f"x.{pid}-{machine}-{int(started) - 1}-{rest}"
    untold = tmp_path / f"x.{pid}-{machine}-{rest}"  # of an older version
    for path in (mine, before, untold):
        path.touch()
    assert disk.abandoned(tmp_path, "x.") == [before]
