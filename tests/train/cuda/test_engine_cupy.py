"""The engine "cupy", its own host code and its own kernel text, against the contract of all engines."""

from __future__ import annotations

import pytest
import torch
from engine_contract import EngineContract
from standin_cupy import StandIn, World

from train.backends.cupy import DERIVATIVES, CupyEngine


class TestCupyEngine(EngineContract):
    surrogates = tuple(DERIVATIVES)
    dtypes = (torch.float32, torch.float16, torch.bfloat16)

    @pytest.fixture(autouse=True)
    def _engine(self, find) -> None:
        type(self).engine = CupyEngine(StandIn(World(find)))
