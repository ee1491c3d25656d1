"""A source and a sample in, a painted clip with its title out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dvsprep.cache import EventCache, EventFrames, FrameCache, describe_sample
from dvsprep.errors import UsageError
from dvsprep.show.layout import grid
from dvsprep.show.paint import Images, fit_scale, paint

if TYPE_CHECKING:
    from dvsprep.remote import RemoteEvents, RemoteFrames
    from dvsprep.types import Array

    Playable = FrameCache | EventFrames | RemoteFrames
ROW = 6  # frames of a class in a still picture
MOST = 101  # classes in one picture; of a thousand none could be seen
TILE = 260  # pixels of a class at most, wide enough for its name


def frames_of(cache: FrameCache | EventCache | RemoteFrames | RemoteEvents, T: int) -> Playable:
    """Return a FrameSource: the cache itself, or its events integrated on the fly into T frames of equal time."""
    return cache.frames(split_by="time", T=T) if cache.kind == "events" else cache  # type: ignore[union-attr,return-value]


def find(source: Playable, sample: int | None, name: str | None) -> int:
    """Return the sample asked for: by number, or the first of a class (its name or label)."""
    if len(source) == 0:
        raise UsageError("the cache holds no sample")
    if sample is not None:
        if not -len(source) <= sample < len(source):
            raise UsageError(f"sample {sample} of {len(source)}, expected 0 to {len(source) - 1}")
        return sample % len(source)
    if name is None:
        return 0
    labels = [i for i, c in enumerate(source.classes) if c.lower() == name.lower()]
    if not labels and name.isdecimal() and int(name) < len(source.classes):
        labels = [int(name)]
    if not labels:
        raise UsageError(f"no class is named {name!r}", hint=f"there are {', '.join(source.classes)}")
    found = np.flatnonzero(source.labels == labels[0])
    if not len(found):
        raise UsageError(f"the cache holds no sample of class {name!r}")
    return int(found[0])


def title(source: Playable, i: int, frames: Array) -> str:
    """Return class, split, recording and row, events and milliseconds a frame."""
    facts = describe_sample(source.events if isinstance(source, EventFrames) else source, i)
    ms = facts["microseconds"] / 1000 / max(1, len(frames))
    return (
        f"{facts['class']} (label {facts['label']}) | {facts['dataset']} {facts['split']} {facts['index']} | "
        f"{facts['id']} | {facts['events']:,} events | {len(frames)} frames of {ms:.1f} ms"
    )


def clip(source: Playable, i: int, palette: str) -> tuple[Images, str]:
    """Paint one sample, large enough to be seen."""
    frames, _ = source[i]
    if not len(frames):
        raise UsageError(f"sample {i} has no frames")
    return paint(frames, palette=palette, scale=fit_scale(*frames.shape[2:])), title(source, i, frames)


def class_grid(source: Playable, palette: str, *, still: bool = False) -> tuple[Images, str]:
    """Paint one sample of each class in one picture; a still one shows each class as a row of frames."""
    clips: list[Images] = []
    titles, absent = [], []
    for label, name in enumerate(source.classes[:MOST]):
        members = np.flatnonzero(source.labels == label)
        frames = source[int(members[0])][0] if len(members) else np.zeros((0, 2, 1, 1))
        text = name if name == str(label) else f"{label} {name}"
        if not len(frames):
            absent.append(name)
            continue
        H, W = frames.shape[2:]
        painted = paint(frames, palette=palette, scale=fit_scale(H, W, target=TILE))
        if still:
            steps = np.linspace(0, len(painted) - 1, ROW).round().astype(int)
            clips += [painted[k : k + 1] for k in steps]
            titles += [text, *(f"frame {k}" for k in steps[1:])]
        else:
            clips.append(painted)
            titles.append(text)
    if not clips:
        raise UsageError("the cache holds no frames")
    images = grid(clips, titles, ROW if still else None)
    of = f"each of the first {MOST} classes" if len(source.classes) > MOST else "each class"
    without = f" | no sample of: {', '.join(absent)}" if absent else ""
    return images, f"{source.dataset} {source.split}: one sample of {of}{without}"
