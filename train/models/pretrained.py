"""A file of torchvision's weights in, a network that starts from them out.

Their names carry the first digits of their SHA-256 (``resnet18-f37072fd.pth``), and these are verified.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor, nn

import dvsprep
from dvsprep.errors import HashMismatchError, IntegrityError, NotFoundError, UsageError

URL = "https://download.pytorch.org/models"
_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth$")
# Whatever torch, zip and pickle raise for bytes that are none of theirs.
_UNREADABLE = (RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile)


def load(net: nn.Module, file: str | PathLike[str], head: str = "fc") -> int | None:
    """Put the weights of a file into a network; return the classes of the file.

    Where these are more or fewer than the network's, its last layer stays as it was.

    Parameters
    ----------
    file : path-like
        A path, or the mere name of a file of torchvision's, which is then downloaded once, to where torchvision would.
    head : str
        The last layer's name.

    Raises
    ------
    NotFoundError, FetchError, HashMismatchError, IntegrityError, UsageError
    """
    path = Path(file)
    if not path.is_file() and path.parent == Path() and _NAME.search(path.name):
        path = fetch(path.name)
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file of weights")
    verify(path)
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:  # told in torch's first sentence: the next ones advise to trust any file
        raise IntegrityError(f"{path}: no weights of torch: {str(error).partition('. ')[0]}") from None
    if not isinstance(state, dict):
        raise IntegrityError(f"{path}: holds a {type(state).__name__}, expected weights by name")
    last, own = state.get(f"{head}.weight"), net.get_submodule(head).state_dict(prefix=f"{head}.")
    if isinstance(last, Tensor) and last.shape[1:] == own[f"{head}.weight"].shape[1:]:
        state |= own if len(last) != len(own[f"{head}.weight"]) else {}
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise UsageError(f"{path}: weights of another network: {first}") from None
    return len(last) if isinstance(last, Tensor) else None


def fetch(name: str) -> Path:
    """Download a file of torchvision's weights, verified by the digits in its name, unless it is there."""
    found = _NAME.search(name)
    assert found is not None, name
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    (path,) = dvsprep.fetch_files({name: f"sha256:{found[1]}"}, URL, folder, dataset="torchvision")
    return path


def verify(path: Path) -> None:
    """Compare a file's SHA-256 with the digits in its name, if it has some; raise HashMismatchError."""
    found = _NAME.search(path.name)
    if found is None:
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(found[1]):
        raise HashMismatchError(
            f"{path}: SHA-256 begins with {digest[: len(found[1])]}, expected {found[1]} as its name says",
            hint="remove it and download it again",
        )
