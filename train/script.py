"""A trainer in, a command out: flags from the command line, one JSON line on stdout, one line for an error."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from typing import NoReturn

from dvsprep.errors import DiskError, DvsprepError
from train import memory
from train.logs import say
from train.trainer import Trainer

INTERRUPTED = 130


def main(trainer: Trainer, argv: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    name = f"train.{trainer.name}"
    try:
        result = trainer.main(trainer.get_args_parser().parse(argv))
        print(json.dumps(result), flush=True)  # noqa: T201
    except KeyboardInterrupt:
        say(f"{name}: interrupted")
        return INTERRUPTED
    except DvsprepError as error:
        return _fail(name, str(error), error.exit_code)
    except MemoryError as error:
        return _fail(name, f"out of memory {error}".strip() + " (a smaller -b or --channels)", DiskError.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        reason = os.strerror(error.errno) if error.errno else str(error)
        return _fail(name, f"{where}{reason}", DiskError.exit_code)
    except RuntimeError as error:
        if "out of memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
        return _fail(name, "out of memory (a smaller -b or --channels)", DiskError.exit_code)
    return 0


def run(trainer: Trainer) -> NoReturn:
    """Run as a script."""
    signal.signal(signal.SIGTERM, _terminated)
    say(memory.prepare())
    code = main(trainer)
    if code == INTERRUPTED:
        sys.stdout.flush()
        os._exit(code)  # at once: reader processes and a second Ctrl-C would only add tracebacks
    sys.exit(code)


def _terminated(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _fail(name: str, message: str, code: int) -> int:
    say(f"{name}: {' '.join(message.split())}")
    return code
