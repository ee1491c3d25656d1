"""Ctrl-C and SIGTERM end a script wherever they come."""

import subprocess
import sys

import pytest

LOST = """
import os, signal, sys, time, weakref
from dvsprep import interrupts
interrupts.obey()

def interrupt(*_):
    os.kill(os.getpid(), getattr(signal, sys.argv[2]))
    for _ in range(1000):
        pass  # it is raised here, where nobody can catch it

class Thing:
    if sys.argv[1] == "a destructor":
        __del__ = interrupt

thing = Thing()
watch = weakref.ref(thing, interrupt) if sys.argv[1] == "a callback" else None
try:
    del thing
    time.sleep(60)
except KeyboardInterrupt:
    print("obeyed")
"""


@pytest.mark.parametrize("place", ["a destructor", "a callback"])
@pytest.mark.parametrize("sign", ["SIGINT", "SIGTERM"])
def test_an_interrupt_that_python_has_to_ignore_comes_again(place, sign):
    run = subprocess.run([sys.executable, "-c", LOST, place, sign], capture_output=True, text=True, timeout=50)
    assert (run.returncode, run.stdout, run.stderr) == (0, "obeyed\n", "")


def test_what_else_is_lost_is_told_as_ever():
    code = """
from dvsprep import interrupts
interrupts.obey()
class Thing:
    def __del__(self):
        raise ValueError("told")
Thing()
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=50)
    assert run.returncode == 0
    assert "ValueError: told" in run.stderr
