"""Finished caches in, HTTP out: ``serve(Settings(...))``. The rooms below know the caches, this one knows the network.

``content`` and ``library`` know nothing of HTTP, ``encode`` makes answers of them, ``routes`` gives these addresses.
"""

from dvsprep.serve.run import serve
from dvsprep.serve.settings import Settings

__all__ = ["Settings", "serve"]
