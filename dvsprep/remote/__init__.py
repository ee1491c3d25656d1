"""Addresses of caches that others serve in, FrameSources out."""
