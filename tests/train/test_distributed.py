"""Two processes on one machine train as one does; what goes wrong in one of them ends the job in a line."""

from __future__ import annotations

import copy
import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from sources import TinyTrainer
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure

from dvsprep.errors import BackendError, NotFoundError, UsageError
from train import checkpoint, distributed, launch, layer, setup
from train.data import EpochSampler
from train.layer.sync import sync_batch_norms

ROOT = Path(__file__).parents[2]
SCRIPT = str(Path(__file__).with_name("world_run.py"))
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
LAUNCH = [sys.executable, "-m", "train.launch", "--nproc-per-node", "2"]
FLAGS = ["--opt", "sgd", "--lr", "0.5", "--select-by", "last", "--no-amp"]


def run(
    out: Path, *flags: object, by: list[str] = TORCHRUN, two: bool = True, **environment: object
) -> subprocess.CompletedProcess:
    command = [*(by if two else [sys.executable]), SCRIPT, "--out-dir", str(out), *FLAGS, *map(str, flags)]
    told = os.environ | {"OMP_NUM_THREADS": "1"} | {name: str(value) for name, value in environment.items()}
    return subprocess.run(command, env=told, capture_output=True, text=True, check=False, cwd=ROOT)


def ending(folder: Path) -> dict:
    return checkpoint.load(folder / checkpoint.LATEST)


def test_two_processes_train_as_one_does(tmp_path):
    """Without BatchNorm, and with one over both; the last batches are uneven, one of them without a second sample."""
    done = [
        run(tmp_path / name, "--epochs", 2, "-b", b, two=two, BEFORE="--sync-bn")
        for name, b, two in (("one", 8, False), ("two", 4, True))
    ]
    assert [d.returncode for d in done] == [0, 0], done[1].stderr
    results = [json.loads(d.stdout) for d in done]  # one line: the first process's
    assert results[0]["test_acc"] == results[1]["test_acc"]
    for folder in ("world_b{}_sgd_lr0.5", "world_b{}_sgd_lr0.5_2"):
        one, two = (ending(tmp_path / name / folder.format(b)) for name, b in (("one", 8), ("two", 4)))
        assert one["net"].keys() == two["net"].keys()
        for key in one["net"]:
            torch.testing.assert_close(two["net"][key], one["net"][key], rtol=0, atol=1e-5)
        for a, b in zip(one["history"], two["history"], strict=True):
            assert a["train_loss"] == pytest.approx(b["train_loss"], abs=1e-5)
            assert a["train_acc1"] == b["train_acc1"]
        assert two["world"] == 2
        assert len(two["rng"]) == 2
    assert done[1].stderr.count("epoch 1,") == 2, "both runs, and the first process only"


def test_a_missing_cache_is_built_once_and_a_killed_process_ends_the_job_in_a_line(tmp_path):
    done = run(tmp_path, "--epochs", 3, by=LAUNCH, CACHE_IN=tmp_path / "root", DIE="1/2")
    assert done.returncode == 128 + 9
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1] == "train.launch: process 1 was killed by SIGKILL"
    built = [json.loads(line) for line in re.findall(r"^\[[01], \d+\]$", done.stderr, re.MULTILINE)]
    assert sorted(rank for rank, _ in built) == [0, 1]
    assert len({inode for _, inode in built}) == 1
    ours = [line for line in done.stderr.splitlines() if line.startswith("train.world")]
    latest = tmp_path / "world_b8_sgd_lr0.5" / checkpoint.LATEST
    assert len(ours) == 1, done.stderr
    assert re.search(r"another process of this job is gone, in epoch 2|interrupted in epoch 2", ours[0])
    assert f"{latest} holds epoch 1" in ours[0]
    assert f"--resume {latest} goes on" in ours[0]
    assert ending(latest.parent)["epoch"] == 1


@pytest.mark.slow
def test_two_processes_resume_to_the_bit(tmp_path):
    whole = json.loads(run(tmp_path / "a", "--epochs", 3, "--sync-bn").stdout)
    run(tmp_path / "b", "--epochs", 3, "--sync-bn", DIE="0/3")
    (folder,) = (tmp_path / "b").iterdir()
    assert ending(folder)["epoch"] == 2
    resumed = run(tmp_path / "c", "--resume", folder)
    assert resumed.returncode == 0, resumed.stderr
    one, two = ending(Path(whole["out_dir"]))["net"], ending(folder)["net"]
    assert all(torch.equal(one[key], two[key]) for key in one)


def args_of(*flags: str):
    return TinyTrainer().get_args_parser().parse(flags)


@pytest.fixture
def two(monkeypatch):
    """Be the first of two processes that have not met."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1"}.items():
        monkeypatch.setenv(name, value)


def test_a_port_in_use_is_one_line(two, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        monkeypatch.setenv("MASTER_PORT", port)
        with pytest.raises(BackendError, match=rf"the 2 processes cannot meet at 127.0.0.1:{port}: the port is in use"):
            distributed.join(torch.device("cpu"))


def test_a_port_in_use_is_one_line_of_the_launcher_s_too(capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # which it would set for its processes
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert launch.main(["--nproc-per-node", "2", "--master-port", port, SCRIPT]) == BackendError.exit_code
    told = f"train.launch: the processes cannot meet at 127.0.0.1:{port}: the port is in use (leave --master-port out"
    assert capsys.readouterr().err.startswith(told)


def test_what_all_processes_run_into_is_told_without_a_traceback(tmp_path):
    done = run(tmp_path, "--resume", tmp_path / "none.pth", by=LAUNCH)
    assert done.returncode == NotFoundError.exit_code
    assert f": {tmp_path / 'none.pth'}: no such checkpoint\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert "killed" not in done.stderr  # those that the launcher has ended are no news


@pytest.mark.parametrize(
    ("codes", "expected", "told"),
    [
        ({1: 2, 0: 130, 2: -15}, 2, ""),  # the launcher ends those that did not fail
        ({0: 7, 1: -9}, 137, "train.launch: process 1 was killed by SIGKILL\n"),  # 0 has only lost it
        ({1: -15, 0: -15}, 143, "train.launch: process 1 was killed by SIGTERM\n"),
    ],
)
def test_the_job_s_exit_code_is_that_of_the_process_that_failed(codes, expected, told, capsys, monkeypatch):
    def run(_args):
        raise ChildFailedError("", {rank: ProcessFailure(rank, 0, code, "") for rank, code in codes.items()})

    monkeypatch.setattr(launch, "run", run)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert launch.main(["--nproc-per-node", "3", SCRIPT]) == expected
    assert capsys.readouterr().err == told


def test_another_number_of_processes_keeps_the_batch_or_says_why_not(two, tmp_path, capsys):
    torch.save({"format": 1, "net": {}, "args": {"batch_size": 12}, "facts": {}, "world": 1}, tmp_path / "c.pth")
    args = args_of("--resume", str(tmp_path / "c.pth"))
    setup.resumed(args)
    assert args.batch_size == 6
    assert "the run had 1 process with -b 12; now 2 with -b 6" in capsys.readouterr().err
    torch.save({"format": 1, "net": {}, "args": {"batch_size": 5}, "facts": {}, "world": 3}, tmp_path / "c.pth")
    with pytest.raises(UsageError, match="3 processes with -b 5, a batch that 2 processes cannot share evenly"):
        setup.resumed(args_of("--resume", str(tmp_path / "c.pth")))
    args = args_of("--resume", str(tmp_path / "c.pth"), "-b", "7")
    setup.resumed(args)
    assert args.batch_size == 7


def test_a_batch_of_all_processes_has_to_be_there(two):
    with pytest.raises(UsageError, match="-b 9 in each of 2 processes is larger than the training set: 17"):
        setup.check(args_of("-b", "9"), range(17))


def test_one_gpu_for_two_processes_is_refused(two):
    with pytest.raises(UsageError, match="cuda:0 is one GPU, and every process needs its own"):
        setup.device(args_of("--device", "cuda:0"))


def test_only_the_first_process_talks(monkeypatch, capsys):
    from train.logs import say

    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    say("nothing")
    say("trouble", of_all=True)
    assert capsys.readouterr().err == "trouble\n"


@pytest.mark.parametrize("n", [1, 2, 7, 8])
def test_shares_to_look_at_hold_every_sample_once(n):
    shares = [list(EpochSampler(n, shuffle=False, rank=r, world=3, even=False)) for r in range(3)]
    assert sorted(draw.sample for share in shares for draw in share) == list(range(n))
    assert [len(share) for share in shares] == [EpochSampler(n, rank=r, world=3, even=False).own for r in range(3)]


@pytest.mark.parametrize("kind", [torch.nn.BatchNorm2d, layer.BatchNorm2d])
def test_alone_a_batch_norm_over_all_processes_is_a_batch_norm(kind):
    norm = kind(3)
    synced = sync_batch_norms(torch.nn.Sequential(copy.deepcopy(norm)))[0]
    x = torch.randn(5, 3, 4, 4)
    assert type(synced) is not kind
    assert torch.equal(synced(x), norm(x))
    assert all(torch.equal(a, b) for a, b in zip(synced.buffers(), norm.buffers(), strict=True))
