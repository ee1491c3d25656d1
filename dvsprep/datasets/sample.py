"""The bundled look-alike of DVS128 Gesture: synthetic, small, and treated like any other dataset."""

from __future__ import annotations

from pathlib import Path

from dvsprep.datasets import dvs128, layouts
from dvsprep.datasets.dataset import Dataset
from dvsprep.raw import Resource


def _bundle() -> Path:
    """Return the folder of the archive: in the package if it was installed from a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "sample_data"
    return inside if inside.is_dir() else package.parent / "sample_data"


def _resources() -> tuple[Resource, ...]:
    resources = []
    for line in (_bundle() / "MD5SUMS").read_text().splitlines():
        md5, name = line.split(maxsplit=1)
        path = _bundle() / name.lstrip("*")
        resources.append(Resource(path.name, md5=md5, size=path.stat().st_size, urls=(path.as_uri(),)))
    return tuple(resources)


DATASET = Dataset(
    name="sample",
    title="Bundled sample",
    paper="none: made by sample_data/make.py from a simple model of a DVS",
    licence="MIT",
    classes=dvs128.CLASSES,
    sensor=(128, 128),
    format="aedat3.1",
    resources=_resources(),
    layout=layouts.trial_lists,
    recording_of=layouts.trial,
    samples={"train": 72, "test": 24},
    has_instances=True,
    user_of=dvs128.user_of,
    tested="the bundled archive itself",
    note="Synthetic; eleven gesture-like motions in the archive layout of DVS128 Gesture.",
)
