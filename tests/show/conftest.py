import numpy as np
import pytest


@pytest.fixture
def clip():
    """A clip of 6 frames, 12 x 16, with two equal frames in a row and an empty one."""
    frames = np.random.default_rng(0).poisson(0.7, (6, 2, 12, 16)).astype(np.uint8)
    frames[3] = frames[2]
    frames[5] = 0
    return frames
