"""Checkpoint files: whole or not there, readable as plain tensors, and one line for each way they can be wrong."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from sources import TinyNet
from torch import nn

from dvsprep.errors import IncompleteError, IntegrityError, NotFoundError, UsageError
from train import checkpoint


def saved(path: Path) -> Path:
    checkpoint.save(path, {"net": TinyNet().state_dict(), "epoch": 3, "rng": checkpoint.rng_state()})
    return path


def test_a_checkpoint_is_plain_tensors_and_names_no_state(tmp_path):
    path = saved(tmp_path / "c.pth")
    content = torch.load(path, weights_only=True)
    assert content["epoch"] == 3
    assert "sn1.w" in content["net"]
    assert not any(name.rpartition(".")[2] == "v" for name in content["net"])
    assert [p.name for p in tmp_path.iterdir()] == ["c.pth"]


def test_a_write_that_fails_leaves_the_old_one_and_no_temporary(tmp_path):
    path = saved(tmp_path / "c.pth")
    before = path.read_bytes()
    with pytest.raises(AttributeError):
        checkpoint.save(path, {"net": lambda: None})
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.pth"]


@pytest.mark.parametrize("kept", [0, 10, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_one_line(tmp_path, kept):
    path = saved(tmp_path / "c.pth")
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])
    with pytest.raises(IntegrityError, match=r"c\.pth: truncated, or no checkpoint") as error:
        checkpoint.load(path)
    assert "\n" not in str(error.value)


def test_files_that_are_no_checkpoint(tmp_path):
    with pytest.raises(NotFoundError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "none.pth")
    other = tmp_path / "other.pth"
    torch.save({"model": torch.ones(1)}, other)
    with pytest.raises(IntegrityError, match="no checkpoint of this trainer"):
        checkpoint.load(other)
    torch.save(TinyNet(), other)  # a pickled module: code, which is never run
    with pytest.raises(IntegrityError, match="no checkpoint"):
        checkpoint.load(other)
    torch.save({"net": {}, "format": 99}, other)
    with pytest.raises(IncompleteError, match="format 99, this version reads 1"):
        checkpoint.load(other)


def test_the_weights_of_another_network_name_the_first_difference():
    own = TinyNet()
    checkpoint.load_net(own, TinyNet().state_dict(), Path("c.pth"))
    with pytest.raises(
        UsageError, match=r"c\.pth: of another network: inner.weight is \[32, 128\], expected \[16, 128\]"
    ):
        checkpoint.load_net(own, TinyNet(hidden=32).state_dict(), Path("c.pth"))
    with pytest.raises(UsageError, match=r"10 missing, inner.weight first; 2 not in this network, weight first"):
        checkpoint.load_net(own, nn.Linear(2, 2).state_dict(), Path("c.pth"))


def test_every_random_generator_goes_on_where_it_was(tmp_path):
    checkpoint.seed_all(3)
    random.gauss(0, 1)
    np.random.normal()  # noqa: NPY002
    path = saved(tmp_path / "c.pth")

    def draw():
        legacy = [np.random.rand(), np.random.normal()]  # noqa: NPY002  the global generator that users' code draws from
        return [random.random(), random.gauss(0, 1), float(torch.rand(())), *legacy]

    first = draw()
    assert draw() != first
    checkpoint.set_rng_state(checkpoint.load(path)["rng"])
    assert draw() == first


def test_a_run_s_folder_means_its_latest_checkpoint(tmp_path):
    assert checkpoint.find(tmp_path) == tmp_path / "checkpoint_latest.pth"
    assert checkpoint.find(tmp_path / "x.pth") == tmp_path / "x.pth"
