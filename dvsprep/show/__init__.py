"""Frames in, pictures out: :func:`paint` turns counts into RGB images, the rest shows or saves those.

Nothing but numpy is imported here; Pillow and Matplotlib come in when a picture needs them.
"""

from dvsprep.show import terminal, window
from dvsprep.show.export import save
from dvsprep.show.layout import caption, grid
from dvsprep.show.paint import PALETTES, Images, fit_scale, paint
from dvsprep.show.window import has_display

__all__ = [
    "PALETTES",
    "Images",
    "caption",
    "fit_scale",
    "grid",
    "has_display",
    "paint",
    "save",
    "terminal",
    "window",
]
