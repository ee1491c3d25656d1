"""A root with caches of every kind, and a service of it."""

from serving import frames, frames_id, root, service

__all__ = ["frames", "frames_id", "root", "service"]
