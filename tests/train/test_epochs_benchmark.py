"""``benchmarks.train.epochs``: both sides get the same files, the page compares with the faster of the peer's runs."""

import idx_files
import numpy as np

import dvsprep
from benchmarks.train import epochs


def test_both_sides_read_the_first_images_from_where_torchvision_has_them(tmp_path):
    source = idx_files.write(tmp_path / "source", train=300, packed=True)
    root = epochs.prepared(tmp_path, {"train": 256, "test": 10}, source)
    raw = root / "FashionMNIST" / "raw"
    assert len(list(raw.iterdir())) == 4
    assert np.array_equal(dvsprep.read_idx(raw / "train-images-idx3-ubyte", "images"), idx_files.images(300)[0][:256])
    assert len(dvsprep.read_idx(raw / "t10k-labels-idx1-ubyte", "labels")) == 10
    script = next(script for script in epochs.SCRIPTS if script.ours == "sequential_fmnist")
    assert 1 < epochs.ours(script, root) < 1e5


def test_seconds_are_those_of_all_images():
    line = "train speed = 600.0000 images/s, test speed = 2000.0000 images/s"
    assert epochs.epoch(*map(float, epochs.SPEED.findall(line)[0])) == 105


def test_the_page_compares_with_the_faster_run_of_the_peer():
    seconds = {}
    for script in epochs.SCRIPTS:
        seconds[epochs._ours(script)] = [2.0, 9.0, 2.0]
        seconds[epochs._theirs(script, 0)] = [8.0]
        seconds[epochs._theirs(script, epochs.READERS)] = [7.0]
    page = epochs.markdown({"facts": {"machine": "m"}, "seconds": seconds})
    assert page.count("| 2.00 s | 7.0 s | **3.50** |") == len(epochs.SCRIPTS)
