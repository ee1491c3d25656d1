"""Images from IDX files: found wherever they lie, refused in one line, handed out as batches, moved and mirrored."""

import gzip
import hashlib

import idx_files
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dvsprep.errors import FetchError, FormatError, IntegrityError, NotFoundError
from train import idx
from train.data import Batch, EpochSampler, pad_sequence_collate
from train.idx import FASHION_MNIST, ImageDataset


@pytest.fixture(autouse=True)
def _no_places(tmp_path, monkeypatch):
    monkeypatch.setenv("DVSPREP_ROOT", str(tmp_path / "root"))
    monkeypatch.setattr(idx, "FASHION_MNIST", FASHION_MNIST._replace(places=()))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("below", ["", "FashionMNIST/raw"])
def test_files_are_found_packed_or_not_and_below_the_folder(tmp_path, capsys, packed, below):
    idx_files.write(tmp_path / "data" / below, packed=packed)
    found = idx.load(idx.FASHION_MNIST, "test", tmp_path / "data")
    pixels, labels = idx_files.images(20, seed=1)
    assert np.array_equal(found.images[:, 0].numpy(), pixels)
    assert found.labels.tolist() == labels.tolist()
    assert found.classes[9] == "Ankle boot"
    assert "20 images; Fashion-MNIST has 10,000 in test" in capsys.readouterr().err


def test_files_lie_with_dvsprep_s_own_unless_a_folder_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"no file train-images-idx3-ubyte or train-images-idx3-ubyte.gz in .*root"):
        idx.load(idx.FASHION_MNIST, "train")
    idx_files.write(idx.downloaded(idx.FASHION_MNIST))
    assert len(idx.load(idx.FASHION_MNIST, "train")) == 80


@pytest.mark.skipif(not FASHION_MNIST.places[0].is_dir(), reason="Debian's package dataset-fashion-mnist is not here")
@pytest.mark.parametrize(("split", "mean", "std"), [("train", 0.2860, 0.3530), ("test", 0.2868, 0.3524)])
def test_the_real_images_are_the_published_ones(capsys, split, mean, std):
    """Debian's .gz files have MD5s of their own; counts, mean and deviation are the ones that the field knows."""
    real = idx.load(FASHION_MNIST, split)
    pixels = real.images.double() / 255
    assert (round(float(pixels.mean()), 4), round(float(pixels.std()), 4)) == (mean, std)
    assert np.bincount(real.labels).tolist() == [FASHION_MNIST.samples[split] // 10] * 10
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "change", "error", "says"),
    [
        ("train-images-idx3-ubyte", lambda d: d[:500], FormatError, "484 bytes from byte 16, expected 62720"),
        ("train-labels-idx1-ubyte", lambda d: d[:-1], FormatError, "79 bytes from byte 8, expected 80"),
        ("train-labels-idx1-ubyte", lambda d: b"", FormatError, "the header of 8 bytes has 0"),
        (
            "train-images-idx3-ubyte", lambda d: idx_files.idx_bytes(np.zeros(80)), FormatError,
            r"the IDX magic number is 2049 \(labels\), expected 2051 \(images\)",
        ),
        (
            "train-labels-idx1-ubyte", lambda d: idx_files.idx_bytes(np.zeros((2, 2, 2))), FormatError,
            r"the IDX magic number is 2051 \(images\), expected 2049 \(labels\)",
        ),
        (
            "train-labels-idx1-ubyte", lambda d: idx_files.idx_bytes(np.zeros(20)), IntegrityError,
            r"80 images, but 20 labels \(files of training and test swapped\?\)",
        ),
        (
            "train-labels-idx1-ubyte", lambda d: d[:-1] + b"\x0a", IntegrityError,
            "image 79 has label 10, expected 0 to 9",
        ),
        ("train-images-idx3-ubyte", lambda d: gzip.compress(d)[:-20], FormatError, "a damaged gzip file"),
    ],
)  # fmt: skip
def test_broken_and_swapped_files_are_told_apart(tmp_path, name, change, error, says):
    path = idx_files.write(tmp_path) / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(error, match=says):
        idx.load(idx.FASHION_MNIST, "train", tmp_path)


def test_download_takes_the_published_files_from_a_mirror_and_verifies_them(tmp_path, monkeypatch):
    mirror = idx_files.write(tmp_path / "mirror", packed=True)
    monkeypatch.setenv("DVSPREP_MIRRORS", str(mirror))
    sums = {p.name: hashlib.md5(p.read_bytes()).hexdigest() for p in mirror.iterdir()}
    published = idx.FASHION_MNIST._replace(files=sums, url="http://localhost:9")
    assert idx.download(published) == idx.downloaded(published)
    assert len(idx.load(published, "train")) == 80
    with pytest.raises(FetchError, match=r"MD5: expected 8d4fb7e6c68d591d4c3dfef9ec88bf0d, got "):
        idx.download(idx.FASHION_MNIST._replace(url=(tmp_path / "nowhere").as_uri()), tmp_path / "other")


def test_a_loader_gets_whole_batches():
    pixels, labels = idx_files.images(10)
    dataset = ImageDataset(pixels, labels, "abcdefghij")
    sampler = EpochSampler(10, seed=3)
    for x, y, lengths in DataLoader(dataset, 4, sampler=sampler, collate_fn=pad_sequence_collate):
        assert x.dtype == torch.uint8
        assert x.shape[1:] == (1, 28, 28)
        assert lengths.tolist() == [1] * len(x)
        for image, label in zip(x, y, strict=True):
            assert np.array_equal(image[0].numpy(), pixels[label])
    batch = dataset.__getitems__([7, 2])
    assert isinstance(batch, Batch)
    assert torch.equal(batch.x[0], dataset[7][0])
    assert dataset.subset([3, 1]).labels.tolist() == [3, 1]
    assert dataset.ids == [str(i) for i in range(10)]


def test_augmented_images_are_moved_and_mirrored_ones():
    torch.manual_seed(0)
    x = torch.randint(1, 256, (60, 1, 9, 7), dtype=torch.uint8)
    assert torch.equal(idx.augmented(x), x)
    mirrored = idx.augmented(x, flip=True)
    same = [torch.equal(a, b) for a, b in zip(mirrored, x, strict=True)]
    assert 10 < sum(same) < 50
    assert all(torch.equal(a, b if s else b.flip(-1)) for a, b, s in zip(mirrored, x, same, strict=True))
    seen = set()
    for a, b in zip(idx.augmented(x, shift=1), x, strict=True):
        wide = torch.nn.functional.pad(b, (1, 1, 1, 1))
        moves = [(i, j) for i in range(3) for j in range(3) if torch.equal(a, wide[:, i : i + 9, j : j + 7])]
        assert len(moves) == 1
        seen.add(moves[0])
    assert len(seen) == 9


def test_augmented_images_are_erased_in_boxes():
    torch.manual_seed(0)
    x = torch.full((200, 1, 16, 16), 7, dtype=torch.uint8)
    holes = idx.augmented(x, erase=0.5) == 0
    assert 70 < int(holes.flatten(1).any(1).sum()) < 130
    for hole in holes[:, 0]:
        rows, columns = hole.any(1), hole.any(0)
        assert torch.equal(hole, rows[:, None] & columns[None, :])
        assert 0 <= int(rows.sum()) <= 8
        assert set(rows.int().diff().abs().tolist()) <= {0, 1}
        assert int(rows.int().diff().abs().sum()) <= 2
