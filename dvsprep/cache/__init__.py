"""Events and frames in, HDF5 files out, and back: the only room that speaks HDF5.

A cache is one immutable file a split; ``layout`` says what it holds, ``write`` how it is published, ``read`` opens it.
"""

from dvsprep.cache.build import events_cache, events_file, frames_cache
from dvsprep.cache.export import export, sample_paths
from dvsprep.cache.layout import Header
from dvsprep.cache.manage import copy_samples, damaged, describe, describe_sample, open_cache
from dvsprep.cache.on_the_fly import EventFrames
from dvsprep.cache.placement import Placement, placement
from dvsprep.cache.preload import PreloadedFrames
from dvsprep.cache.read import Cache, EventCache, FrameCache, kind_of
from dvsprep.cache.stash import Part, Stash, stashing
from dvsprep.cache.write import Publishing

__all__ = [
    "Cache",
    "EventCache",
    "EventFrames",
    "FrameCache",
    "Header",
    "Part",
    "Placement",
    "PreloadedFrames",
    "Publishing",
    "Stash",
    "copy_samples",
    "damaged",
    "describe",
    "describe_sample",
    "events_cache",
    "events_file",
    "export",
    "frames_cache",
    "kind_of",
    "open_cache",
    "placement",
    "sample_paths",
    "stashing",
]
