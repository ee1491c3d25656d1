"""How the spikes of a block meet those of its input (Fang et al. 2021): identity first, the block's output second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from dvsprep.errors import UsageError

Connect = Literal["ADD", "AND", "IAND"]
CONNECT: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "ADD": lambda x, y: x + y,
    "AND": lambda x, y: x * y,
    "IAND": lambda x, y: x * (1.0 - y),
}


def check_connect(connect: str) -> str:
    """Return the name of a connection; raise UsageError if there is none of that name."""
    if connect not in CONNECT:
        raise UsageError(f"connect is {connect!r}, expected ADD, AND or IAND")
    return connect
