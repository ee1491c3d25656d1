"""A trainer in, a command out: flags from the command line, one line (JSON) on stdout, one line for an error."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from dvsprep import interrupts
from dvsprep.errors import DiskError, DvsprepError, IncompleteError
from train import distributed, memory
from train.logs import say
from train.trainer import Trainer

INTERRUPTED = 130
PATIENCE = 3.0  # seconds in which the launcher ends what is left of a job that the first process has failed


def main(trainer: Trainer, argv: Sequence[str] | None = None) -> int:
    """Run; return the exit code."""
    name = f"train.{trainer.name}"
    try:
        args = trainer.get_args_parser().parse(argv)
        told = str(trainer.logdir(args)) if args.print_logdir else json.dumps(trainer.main(args))
        if distributed.rank() == 0:
            print(told, flush=True)  # noqa: T201
        distributed.leave()
    except KeyboardInterrupt as stopped:
        say(f"{name}: {stopped or 'interrupted'}")
        return INTERRUPTED
    except DvsprepError as error:
        return _fail(name, _original(error), error.exit_code)
    except MemoryError as error:
        return _fail(name, f"out of memory {error}".strip() + " (a smaller -b or --channels)", DiskError.exit_code)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        reason = os.strerror(error.errno) if error.errno else str(error)
        return _fail(name, f"{where}{reason}", DiskError.exit_code)
    except RuntimeError as error:
        if distributed.lost(error):
            return _fail(name, f"another process of this job is gone: {error}", IncompleteError.exit_code)
        if "out of memory" not in str(error) and "can't allocate memory" not in str(error):
            raise
        return _fail(name, "out of memory (a smaller -b or --channels)", DiskError.exit_code)
    return 0


def run(trainer: Trainer) -> NoReturn:
    """Run as a script."""
    interrupts.obey()
    say(memory.prepare())
    code = main(trainer)
    if code == INTERRUPTED or (code and distributed.world() > 1):
        sys.stdout.flush()
        os._exit(code)  # at once: reader processes, a second Ctrl-C and lost connections would only add tracebacks
    sys.exit(code)


def _original(error: DvsprepError) -> str:
    """Return what an error says, without the traceback that torch wraps it in if it comes from a reader process."""
    text = str(error)
    return text.strip().splitlines()[-1].partition(": ")[2] if "Original Traceback" in text else text


def _fail(name: str, message: str, code: int) -> int:
    if distributed.rank():
        # What all processes have run into is told by the first, and the launcher ends the others before they speak,
        # in silence: this is no place for the handler's KeyboardInterrupt.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(PATIENCE)
        name = f"{name}, process {distributed.rank()} of {distributed.world()}"
    say(f"{name}: {' '.join(message.split())}", of_all=True)
    return code
