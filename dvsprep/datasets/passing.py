"""Tapes in, recordings out with what they hold, as soon as they and their labels have passed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from dvsprep.datasets.dataset import Dataset
from dvsprep.errors import LabelError
from dvsprep.events import Instances, Recording, size_of
from dvsprep.raw import Member, Tape, as_path

HELD = 1 << 27  # bytes; recordings that may wait for their labels


def ready(tapes: Iterable[Tape], dataset: Dataset, instances: Instances) -> Iterator[Recording]:
    """Yield recordings in the order in which they and their labels have passed, whatever split they are in.

    Not all need come: a recording that would wait for its labels for too long is left out, and so is one whose labels
    are wrong, for it may be none that the layout lists. :func:`again` gives those.
    """
    assert dataset.recording_of is not None
    recording_of = dataset.recording_of

    def labelled(member: Member) -> Recording | None:
        try:
            return recording_of(as_path(member), dataset, instances)
        except LabelError:
            return None  # if the layout lists it, it raises the same

    def wanted(member: Member) -> bool:
        try:
            return labelled(member) is not None
        except FileNotFoundError:
            return True

    for tape in tapes:
        waiting: list[Member] = []
        for member in tape.play(wanted):
            waiting.append(member)
            del member
            for one in list(waiting):
                try:
                    recording = labelled(one)
                except FileNotFoundError:
                    continue
                waiting.remove(one)
                if recording is not None:
                    yield recording
                    del recording
            while sum(size_of(as_path(one)) for one in waiting) > HELD:
                waiting.pop(0)


def again(tapes: Iterable[Tape], recordings: Iterable[Recording]) -> Iterator[Recording]:
    """Yield these recordings, with what they hold, in the order in which they pass."""
    expected = {recording.path: recording for recording in recordings}
    for tape in tapes:
        for member in tape.play(lambda member: as_path(member) in expected):
            if recording := expected.get(as_path(member)):
                yield replace(recording, path=as_path(member))
