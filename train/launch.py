"""``python -m train.launch --nproc-per-node 2 -m train.dvsg ...``: torchrun, whose own failures are a line each.

All its flags are torchrun's. Without an address for the processes to meet at, they meet at a free port of this machine.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Sequence

from torch.distributed import DistError
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import get_args_parser, run

from dvsprep.errors import BackendError
from train import memory
from train.logs import say

INTERRUPTED = 130
MEETING = ("rdzv_endpoint", "master_port", "nnodes")


def main(argv: Sequence[str] | None = None) -> int:
    """Run; return the exit code: that of the first process that failed."""
    parser = get_args_parser()
    args = parser.parse_args(argv)
    if all(getattr(args, name) == parser.get_default(name) for name in MEETING):
        args.standalone = True
    each = args.nproc_per_node
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, memory.cores() // (int(each) if each.isdecimal() else 1))))
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # what it reports is said below, in a line
    try:
        run(args)  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        return _first({rank: failure.exitcode for rank, failure in error.failures.items()})
    except (DistError, OSError) as error:
        address = args.rdzv_endpoint or f"{args.master_addr}:{args.master_port}"
        why = "the port is in use" if "EADDRINUSE" in str(error) else str(error).partition("\n")[0]
        say(f"train.launch: the processes cannot meet at {address}: {why} (leave --master-port out, or take another)")
        return BackendError.exit_code
    except (KeyboardInterrupt, SignalException):
        return INTERRUPTED
    return 0


def _first(codes: dict[int, int]) -> int:
    """Return the exit code that tells why a job ended, of those by rank, the first that ended first."""
    own = [code for code in codes.values() if code > 0]
    # When one has failed, torchrun ends the others by SIGTERM: no reason, where one has said its own.
    killed = [(rank, code) for rank, code in codes.items() if code < 0 and not (own and code == -signal.SIGTERM)]
    if not killed:
        return own[0]
    rank, code = killed[0]  # the others have only lost it
    say(f"train.launch: process {rank} was killed by {signal.Signals(-code).name}")
    return 128 - code


if __name__ == "__main__":
    sys.exit(main())
