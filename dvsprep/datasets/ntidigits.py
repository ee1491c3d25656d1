"""N-TIDIGITS18 (Anumula et al. 2018): spoken digits through a spiking cochlea; the single digits."""

from __future__ import annotations

from dvsprep.datasets.dataset import Dataset
from dvsprep.datasets.layouts import containers
from dvsprep.raw import Resource

DATASET = Dataset(
    name="ntidigits",
    title="N-TIDIGITS18",
    paper="Feature Representations for Neuromorphic Audio Spike Streams, "
    "Anumula et al., Frontiers in Neuroscience 12:23, 2018",
    licence="see the authors' page [?]",
    classes=("o", "1", "2", "3", "4", "5", "6", "7", "8", "9", "z"),
    sensor=(1, 64),
    channels=1,
    format="ntidigits-h5",
    resources=(
        Resource(
            "n-tidigits.hdf5",
            md5="360a2d11e5429555c9197381cf6b58e0",
            urls=(
                "https://www.dropbox.com/scl/fi/1x4lxt9yyw25sc3tez8oi/n-tidigits.hdf5?e=2&rlkey=w8gi5udvib2zqzosusa5tr3wq&dl=1",
                # An older link, of 441,391,729 bytes; whether it has this MD5 is not known [?].
                "https://www.dropbox.com/s/vfwwrhlyzkax4a2/n-tidigits.hdf5?dl=1",
            ),
        ),
    ),
    layout=containers,
    status={"dropbox.com": "in tonic 1.7, which never checks the MD5; not probed here [?]"},
    note="One-dimensional: frames are [T, 1, 1, 64]. Only recordings of one digit are samples; labels are tonic's "
    "(o = 0, z = 10), where another loader has them the other way round.",
)
