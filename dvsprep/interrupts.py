"""Ctrl-C that is not lost: for scripts, which install it at their start; a library does not decide it for its user."""

from __future__ import annotations

import _thread
import signal
import sys
import threading

AGAIN = 0.05  # seconds


def obey() -> None:
    """Have SIGTERM end this process as Ctrl-C does, and Ctrl-C be obeyed wherever it comes.

    Python raises KeyboardInterrupt in whatever it is doing, and has to ignore it in a destructor or a callback of a
    weak reference. There it is raised once more, a moment later.
    """
    signal.signal(signal.SIGTERM, _terminated)
    sys.unraisablehook = _try_again


def _terminated(*_: object) -> None:
    raise KeyboardInterrupt


def _try_again(lost: sys.UnraisableHookArgs) -> None:
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
        return
    again = threading.Timer(AGAIN, _interrupt)
    again.daemon = True
    again.start()


def _interrupt() -> None:
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGINT)  # a real one: it ends a wait, too
    else:
        _thread.interrupt_main()
