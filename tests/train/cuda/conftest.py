"""The engine "cupy" on a machine without a GPU."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest
import torch
from cuda_cpu import Kernel, Kernels, Variant
from standin_cupy import World, every_variant

from train.backends.cupy import DERIVATIVES, source

KINDS = ("if", "lif", "plif")
HALVES = (torch.float16, torch.bfloat16)
# What is compiled together: float32 with all surrogates; the halves, whose arithmetic is float32's, one by one.
FAMILIES = [
    *(every_variant(torch.float32, kind) for kind in KINDS),
    *(every_variant(dtype, kind, (name,)) for dtype in HALVES for kind in KINDS for name in DERIVATIVES),
]


class Finder:
    """Finds the kernel of a variant; the first of a family compiles the whole family."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.compiled = functools.cache(self._compile)

    def _compile(self, text: str, family: int) -> Kernels:
        variants = FAMILIES[family]
        return Kernels([(text, v) for v in variants], self.folder, libraries=2 if len(variants) > 20 else 1)

    def __call__(self, text: str, variant: Variant) -> Kernel:
        family = next((i for i, variants in enumerate(FAMILIES) if variant in variants), None)
        assert family is not None, f"the engine asks for a variant that every_variant does not know: {variant}"
        return self.compiled(text, family).get(text, variant)


@pytest.fixture(scope="session")
def find(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Finder:
    if shutil.which("g++") is None:
        pytest.skip("the kernels run on the CPU through g++, which is not installed")
    cache = getattr(pytestconfig, "cache", None)  # where what was compiled is found again by the next run
    return Finder(Path(cache.mkdir("cuda_cpu")) if cache else tmp_path_factory.mktemp("cuda_cpu"))


@pytest.fixture
def world(find: Finder) -> World:
    return World(find)


@pytest.fixture(scope="session")
def text() -> str:
    return source()
