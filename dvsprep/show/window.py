"""Images to a window, with Matplotlib."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

from dvsprep.errors import BackendError, UsageError
from dvsprep.show.paint import Images

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.artist import Artist
    from matplotlib.backend_bases import Event
    from matplotlib.figure import Figure

_HINT = "use --terminal, or save it with -o clip.gif"
_KEYS = "space: pause    left, right: step    q: close"


def has_display(platform: str = sys.platform, environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether a window can be seen: a Unix session with a display, a Mac or PC not reached by ssh."""
    if platform in ("darwin", "win32", "cygwin"):
        return not environ.get("SSH_CONNECTION")
    return bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))


def play(images: Images, *, fps: float = 10, title: str = "") -> None:
    """Play a clip in a window until it is closed; space pauses, left and right step, q closes."""
    if not has_display():
        raise BackendError("there is no display to open a window on", hint=_HINT)
    try:
        import matplotlib.pyplot as plt

        fig, _anim = build(images, fps, title)
    except (ImportError, ValueError) as error:  # MPLBACKEND names a toolkit that is not installed, or is none
        raise BackendError(f"Matplotlib cannot open a window: {error}", hint=_HINT) from error
    if fig.canvas.required_interactive_framework is None:
        fig.canvas.draw()  # an animation that was never drawn warns when it is dropped
        plt.close(fig)
        raise BackendError(
            f"Matplotlib draws with {plt.get_backend()}, which has no windows",
            hint=f"check DISPLAY, install tkinter or PyQt6; or {_HINT}",
        )
    plt.show(block=True)


def build(images: Images, fps: float = 10, title: str = "") -> tuple[Figure, FuncAnimation]:
    """Return the figure and its running animation; whoever drops the animation stops it."""
    if not len(images):
        raise UsageError("no frames to play")
    if not 0 < fps < float("inf"):
        raise UsageError(f"fps is {fps}, expected a positive number")
    import matplotlib.pyplot as plt
    from matplotlib.animation import FuncAnimation

    with plt.rc_context({"toolbar": "None"}):
        player = _Player(plt.figure(figsize=(6, 6), facecolor="#21242d"), images, title)
    anim = FuncAnimation(
        player.fig,
        player.tick,
        init_func=player.draw,
        interval=max(1, round(1000 / fps)),
        cache_frame_data=False,
    )
    player.listen(anim)
    return player.fig, anim


class _Player:
    """What is shown, and what the keys do to it."""

    def __init__(self, fig: Figure, images: Images, title: str) -> None:
        self.fig, self.images, self.title = fig, images, title
        self.t, self.playing = 0, True
        axes = fig.add_axes((0.02, 0.06, 0.96, 0.86))
        axes.set_axis_off()
        self.picture = axes.imshow(images[0], interpolation="nearest")
        self.heading = axes.set_title("", color="#dee2ea", size="small")
        fig.text(0.5, 0.02, _KEYS, color="#8a90a0", ha="center", size="small")
        if fig.canvas.manager is not None:
            fig.canvas.manager.set_window_title(title or "dvsprep")
        self.draw()

    def listen(self, anim: FuncAnimation) -> None:
        canvas = self.fig.canvas
        # Matplotlib has its own meanings for these keys (q, left and right among them).
        handler = getattr(canvas.manager, "key_press_handler_id", None)
        if handler is not None:
            canvas.mpl_disconnect(handler)
        canvas.mpl_connect("key_press_event", self.press)
        self.anim = anim

    def draw(self) -> list[Artist]:
        count = f"{self.t + 1}/{len(self.images)}"
        self.picture.set_data(self.images[self.t])
        # Two lines of this many small letters fit above the picture.
        self.heading.set_text(textwrap.fill(f"{self.title}  {count}" if self.title else count, 88))
        return [self.picture, self.heading]

    def tick(self, _: int) -> list[Artist]:
        if self.playing:
            self.t = (self.t + 1) % len(self.images)
        return self.draw()

    def press(self, event: Event) -> None:
        import matplotlib.pyplot as plt

        key = getattr(event, "key", None)
        if key == "q":
            plt.close(self.fig)
        elif key == " ":
            self.playing = not self.playing
        elif key in ("left", "right"):
            self.playing = False
            self.t = (self.t + (1 if key == "right" else -1)) % len(self.images)
            self.draw()
            self.fig.canvas.draw_idle()
