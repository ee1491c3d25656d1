"""S-MNIST: MNIST read row by row, a spike wherever the grey value crosses one of 49 thresholds."""

from __future__ import annotations

from dvsprep.datasets.dataset import Dataset
from dvsprep.datasets.layouts import idx_pairs
from dvsprep.raw import Resource

HOST = "https://storage.googleapis.com/cvdf-datasets/mnist"
# file: MD5
FILES = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}

DATASET = Dataset(
    name="smnist",
    title="S-MNIST",
    paper="encoding usually credited to Long short-term memory and learning-to-learn in networks of spiking neurons, "
    "Bellec et al., NeurIPS 2018 [?]; the images: MNIST, LeCun et al., 1998",
    licence="see MNIST",
    classes=tuple("0123456789"),
    sensor=(1, 99),
    channels=1,
    format="smnist-idx",
    resources=tuple(Resource(name, md5=md5, urls=(f"{HOST}/{name}",)) for name, md5 in FILES.items()),
    layout=idx_pairs,
    samples={"train": 60000, "test": 10000},
    status={"storage.googleapis.com": "in tonic 1.7; not probed here [?]"},
    note="One-dimensional: frames are [T, 1, 1, 99], of which 97 channels can fire. tonic's encoding: "
    "every spike comes twice, a pixel lasts 2 ms.",
)
