"""``python -m train.dvsg --cache TRAIN.h5``: DVSGestureNet on DVS128 Gesture, and on what looks like it."""

from __future__ import annotations

from train import script
from train.frames import FramesTrainer


class GestureTrainer(FramesTrainer):
    """Train DVSGestureNet on a frame cache of DVS128 Gesture or of another set."""

    name = "dvsg"
    dataset = "dvs128"
    default_model = "dvs_gesture_net"


if __name__ == "__main__":
    script.run(GestureTrainer())
