"""``python -m dvsprep``."""

from dvsprep.cli import run

run()
