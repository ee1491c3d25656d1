"""A service to be a client of."""

from serving import frames, frames_id, root, service

__all__ = ["frames", "frames_id", "root", "service"]
