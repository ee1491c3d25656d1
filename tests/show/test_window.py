import numpy as np
import pytest
from matplotlib.backend_bases import KeyEvent

from dvsprep.errors import BackendError, UsageError
from dvsprep.show import has_display, paint, window


@pytest.fixture(autouse=True)
def agg(monkeypatch):
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    yield
    plt.close("all")


@pytest.fixture
def player(clip):
    images = paint(clip)
    fig, anim = window.build(images, 10, "wave")
    fig.canvas.draw()  # starts the animation
    return images, fig, anim


def press(fig, key):
    fig.canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", fig.canvas, key))


def shown(fig, images):
    """Return the number in the title, after checking that it is the image on screen."""
    axes = fig.axes[0]
    t = int(axes.get_title().split()[-1].split("/")[0]) - 1
    assert np.array_equal(axes.images[0].get_array(), images[t])
    return t


def test_plays_round(player):
    images, fig, anim = player
    start = shown(fig, images)
    assert start == 0
    seen = []
    for _ in range(7):
        anim._step()
        seen.append(shown(fig, images))
    assert seen == [1, 2, 3, 4, 5, 0, 1]
    assert fig.axes[0].get_title() == "wave  2/6"
    assert anim.event_source.interval == 100


def test_keys(player):
    import matplotlib.pyplot as plt

    images, fig, anim = player
    press(fig, " ")
    anim._step()
    assert shown(fig, images) == 0, "paused"
    press(fig, "right")
    press(fig, "right")
    assert shown(fig, images) == 2
    for _ in range(3):
        press(fig, "left")
    assert shown(fig, images) == 5
    anim._step()
    assert shown(fig, images) == 5, "stepping does not resume"
    press(fig, " ")
    anim._step()
    assert shown(fig, images) == 0, "resumed"
    press(fig, "x")
    press(fig, "q")
    assert not plt.fignum_exists(fig.number)


def test_stepping_pauses(player):
    images, fig, anim = player
    press(fig, "left")
    anim._step()
    assert shown(fig, images) == 5


def test_keys_have_no_other_meaning(player):
    _, fig, _ = player
    event = KeyEvent("key_press_event", fig.canvas, "k", 300, 300)  # Matplotlib: logarithmic x axis
    assert event.inaxes is fig.axes[0]
    fig.canvas.callbacks.process("key_press_event", event)
    assert fig.axes[0].get_xscale() == "linear"


def test_has_display():
    assert has_display("linux", {"DISPLAY": ":0"})
    assert has_display("linux", {"WAYLAND_DISPLAY": "wayland-0"})
    assert not has_display("linux", {"DISPLAY": ""})
    assert has_display("darwin", {})
    assert has_display("win32", {})
    assert not has_display("darwin", {"SSH_CONNECTION": "1.2.3.4"})


def test_no_display_is_an_error_with_a_way_out(clip, monkeypatch):
    monkeypatch.setattr(window, "has_display", lambda: False)
    with pytest.raises(BackendError, match=r"--terminal.*-o clip\.gif"):
        window.play(paint(clip))


def test_a_backend_without_windows_is_an_error(clip, monkeypatch):
    import matplotlib.pyplot as plt

    monkeypatch.setattr(window, "has_display", lambda: True)
    with pytest.raises(BackendError, match=r"agg.*PyQt6.*--terminal"):
        window.play(paint(clip))
    assert plt.get_fignums() == []


def test_a_backend_that_is_missing_is_an_error(clip, monkeypatch):
    def fail(*_):
        raise ImportError("no module named PyQt6")

    monkeypatch.setattr(window, "has_display", lambda: True)
    monkeypatch.setattr(window, "build", fail)
    with pytest.raises(BackendError, match="PyQt6"):
        window.play(paint(clip))


def test_wrong_arguments(clip):
    with pytest.raises(UsageError):
        window.build(paint(clip[:0]), 10, "")
    with pytest.raises(UsageError):
        window.build(paint(clip), 0, "")
