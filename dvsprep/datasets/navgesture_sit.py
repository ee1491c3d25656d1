"""NavGesture-sit (Maro et al. 2020): six gestures before a smartphone's ATIS, 28 subjects sitting."""

from __future__ import annotations

from dvsprep.datasets.navgesture_walk import navgesture

DATASET = navgesture("sit", "1571753ace4d9e0946e6503313712c22", said=1342)
