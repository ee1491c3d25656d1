"""What all commands share: help, exit codes, errors in one line, pipes and terminals."""

from __future__ import annotations

import errno
import os
import resource
import statistics
import subprocess
import sys
import time

import pytest

from dvsprep.cli import COMMANDS, main
from dvsprep.errors import (
    BackendError,
    DiskError,
    FetchError,
    IncompleteError,
    IntegrityError,
    NotFoundError,
    UsageError,
)
from dvsprep.pipeline import Job

FRAMES = ["frames", "sample", "--split-by", "number", "-T", "8"]
HEAVY = ("numba", "h5py", "matplotlib", "numpy", "requests")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_help(run, command, flag):
    done = run(command, flag)
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith(f"Usage: dvsprep {command} ")
    assert "--json" in done.out or command == "play"  # what play makes is a picture


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]], ids=str)
def test_help_lists_commands_and_exit_codes(run, arguments):
    done = run(*arguments)
    assert (done.code, done.err) == (0, "")
    assert all(f"  {name} " in done.out for name in COMMANDS)
    assert "5 integrity" in done.out


@pytest.mark.parametrize("arguments", [["--help"], ["frames", "--help"], ["play", "-h"]], ids=" ".join)
def test_help_imports_nothing_heavy(arguments, tmp_path):
    look = f"print([m for m in {HEAVY!r} if m in sys.modules])"
    code = f"import sys; from dvsprep.cli import main; main({arguments!r}); {look}"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_answers_in_under_0_3_seconds(shell):
    def seconds() -> float:
        start = time.perf_counter()
        assert shell("--help").code == 0
        return time.perf_counter() - start

    assert statistics.median(seconds() for _ in range(5)) < 0.3


def test_unknown_command_names_the_nearest(run):
    done = run("fram", "sample")
    assert (done.code, done.error) == (2, "no command 'fram'; did you mean 'frames'?")


@pytest.mark.parametrize("command", ["fetch", "verify", "events", "frames"])
@pytest.mark.parametrize(
    ("name", "near"), [("dvs-128", "dvs128"), ("N-MNIST", "nmnist"), ("cifar10-dvs", "cifar10dvs")]
)
def test_unknown_dataset_names_the_nearest(run, command, name, near):
    done = run(command, name, *(FRAMES[2:] if command == "frames" else []))
    assert done.code == 3
    assert f"no dataset is named {name!r}" in done.error
    assert near in done.error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["frames"], "Missing argument 'NAME'"),
        (["adopt", "sample"], "Missing argument 'FILES...'"),
        (["export", "x.h5", "-o", "out"], "Missing option '--format'. Choose from: npz, npy, png, h5"),
        (["datasets", "more"], "unexpected extra argument"),
        (["frames", "sample", "--nope"], "No such option '--nope'"),
        (["--nope"], "No such option '--nope'"),
        (["frames", "sample", "--root", "", "-T", "8"], "'--root': an empty path"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_usage_is_one_line_that_leads_to_help(run, arguments, words):
    done = run(*arguments)
    assert done.code == 2
    assert words in done.error
    assert "--help`)" in done.error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("words"), 2),
        (NotFoundError("words"), 3),
        (FetchError("words"), 4),
        (IntegrityError("words"), 5),
        (DiskError("words"), 6),
        (OSError(errno.EIO, "words"), 6),
        (MemoryError(), 6),
        (IncompleteError("words"), 7),
        (BackendError("words"), 8),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_exit_code_of_each_branch_of_errors(run, monkeypatch, error, code):
    def fail(job):
        raise error

    monkeypatch.setattr(Job, "run", fail)
    done = run(*FRAMES, "--json")
    assert done.code == code
    assert done.json["error"]["exit_code"] == code
    assert done.json["error"]["message"] in done.error


def test_a_message_of_several_lines_becomes_one(run, monkeypatch):
    def fail(job):
        raise IntegrityError("what\n  and where", hint="what to do")

    monkeypatch.setattr(Job, "run", fail)
    assert run(*FRAMES).error == "what and where (what to do)"


def test_a_full_disk_tells_the_folder_and_what_to_do(run, monkeypatch, tmp_path):
    def fail(job):
        raise OSError(errno.ENOSPC, "No space left on device")  # a failed write does not know its file

    monkeypatch.setattr(Job, "run", fail)
    error = run(*FRAMES, "--root", tmp_path).error
    assert error.startswith(f"{tmp_path / 'sample'}: No space left on device (free some space")


def test_a_bug_of_ours_is_one_line_or_a_traceback_on_demand(run, monkeypatch):
    def fail(job):
        raise KeyError("oops")

    monkeypatch.setattr(Job, "run", fail)
    done = run(*FRAMES)
    assert done.code == 1
    assert "this is a bug of dvsprep: KeyError: 'oops'" in done.error
    monkeypatch.setenv("DVSPREP_DEBUG", "1")
    with pytest.raises(KeyError):
        main(FRAMES)


@pytest.mark.parametrize("command", ["frames", "fetch"])
@pytest.mark.parametrize("below", ["", "sub/folder"])
def test_a_root_that_is_a_file_is_exit_6(run, tmp_path, below, command):
    (tmp_path / "file").write_text("mine")
    done = run(command, *FRAMES[1 : 6 if command == "frames" else 2], "--root", tmp_path / "file" / below)
    assert done.code == 6
    assert str(tmp_path / "file") in done.error
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not os.path.isdir("/proc/1"), reason="/proc is a folder of Linux that nobody can write to")
def test_a_root_that_nobody_can_write_to_is_exit_6(run):
    done = run(*FRAMES, "--root", "/proc")
    assert done.code == 6
    assert done.error.startswith("/proc/sample: ")


def test_a_disk_that_takes_no_more_is_exit_6_and_the_next_run_goes_on(shell, tmp_path):
    def one_megabyte() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = shell(*FRAMES, "--root", tmp_path / "r", preexec_fn=one_megabyte)
    assert done.code == 6
    assert str(tmp_path / "r" / "sample") in done.error
    assert "File too large" in done.error
    assert shell(*FRAMES, "--root", tmp_path / "r").code == 0


def test_root_may_have_blanks_letters_of_any_alphabet_and_a_tilde(run, tmp_path, monkeypatch):
    root = tmp_path / "we ird" / "ünï 数据"
    done = run("events", "sample", "--root", root)
    assert done.code == 0
    assert all(line.startswith(str(root)) for line in done.lines)
    assert run("info", done.lines[0], "--json").json["path"] == done.lines[0]
    monkeypatch.setenv("HOME", str(tmp_path / "we ird"))
    assert run("events", "sample", "--root", "~/ünï 数据").lines == done.lines


@pytest.fixture
def pipe(tmp_path):
    """Run ``dvsprep ARGUMENTS | READER`` in bash; return exit codes of both, stdout and stderr."""

    def call(arguments: str, reader: str) -> tuple[list[int], str, str]:
        script = f'{sys.executable} -m dvsprep {arguments} | {reader}; echo "${{PIPESTATUS[*]}}" >&2'
        done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
        *err, codes = done.stderr.splitlines()
        return [int(code) for code in codes.split()], done.stdout, "\n".join(err)

    return call


@pytest.mark.parametrize("arguments", ["datasets", "datasets --json", "--help", "play '{train}' --terminal"])
@pytest.mark.parametrize("reader", ["true", "head -n 1"])
def test_a_reader_that_leaves_early_is_no_error(pipe, built, arguments, reader):
    codes, _, err = pipe(arguments.format(train=built.train), reader)
    assert codes == [0, 0]
    assert err == ""


def test_a_closed_stderr_does_not_stop_a_build(pipe, tmp_path):
    codes, _, _ = pipe("events sample --root r 2>&1 >out", "true")
    assert codes == [0, 0]
    assert len((tmp_path / "out").read_text().splitlines()) == 2


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="/dev/full is a device of Linux")
@pytest.mark.parametrize("json", [[], ["--json"]], ids=["text", "json"])
def test_a_full_stdout_is_exit_6(tmp_path, json):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "dvsprep", "datasets", *json]
        done = subprocess.run(command, cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 6
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("stream", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_streams_are_no_error(tmp_path, built, stream):
    script = f"{sys.executable} -m dvsprep frames sample --split-by number -T 8 --root '{built.root}' {stream}"
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_into_a_file_there_is_no_carriage_return_and_no_bar(shell, tmp_path):
    done = shell("frames", "sample", "--split-by", "number", "-T", "2", "--root", tmp_path / "r")
    assert done.code == 0
    assert "\r" not in done.out + done.err
    assert done.talk == []  # stderr says one line a stage, and nothing else
    assert len(done.err.splitlines()) == 5


def test_a_command_ends_without_a_last_search_for_garbage():
    code = (
        "import atexit, gc, sys\n"
        "atexit.register(lambda: print('frozen', gc.get_freeze_count() > 0))\n"
        "from dvsprep.cli import run\n"
        "sys.argv = ['dvsprep', 'datasets', '--json']\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "frozen True"
