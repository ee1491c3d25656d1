"""A root with caches of every kind, and a service of it."""

from browsing import browser, home, id20, served, two
from serving import frames, frames_id, root, service

__all__ = ["browser", "frames", "frames_id", "home", "id20", "root", "served", "service", "two"]
