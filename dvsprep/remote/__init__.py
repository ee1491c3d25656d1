"""Addresses of caches that others serve in, FrameSources out: fetched, checked, and kept on this machine's disk."""

from dvsprep.remote.describe import damaged, describe
from dvsprep.remote.pull import pull
from dvsprep.remote.source import RemoteEvents, RemoteFrames, open_url

__all__ = ["RemoteEvents", "RemoteFrames", "damaged", "describe", "open_url", "pull"]
