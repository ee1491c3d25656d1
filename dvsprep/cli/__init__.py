"""The command line: one file a verb, each parses, calls one library function and prints.

stdout is data, stderr is talk. Errors are one line and an exit code; see dvsprep.errors.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from dvsprep import interrupts
from dvsprep.cli.options import Failed, emit, say
from dvsprep.errors import DiskError, DvsprepError, ManualDownloadError
from dvsprep.version import __version__

COMMANDS = {
    "datasets": "List the datasets and where each comes from.",
    "fetch": "Download a dataset's files, or say how a person gets them.",
    "verify": "Check the files in the download folder against their MD5s.",
    "adopt": "Take over files that were downloaded by hand.",
    "bundle": "Pack verified files or caches for a machine without internet.",
    "unbundle": "Unpack what `bundle` made.",
    "import": "Make a dataset of your own recordings.",
    "split": "Write a split of a dataset to a file that can be cited.",
    "events": "Build a dataset's event caches.",
    "frames": "Build a dataset's frame caches, and every earlier stage that is missing.",
    "info": "Describe a cache.",
    "bench": "Measure how fast a cache reads here, by codec and workers.",
    "play": "Show a sample: in a window, in the terminal, or as a GIF or PNG.",
    "export": "Write samples as npz, npy, png or h5.",
    "card": "Write a cache's data card: counts, statistics, samples, sources.",
    "convert": "Turn recordings or event caches into npz, DAT, text or an event cache.",
    "serve": "Serve finished caches over HTTP, to trainers and browsers.",
    "pull": "Fetch a served cache whole.",
    "config": "Print the settings, where each is from and where their file lies.",
}
MODULES = {"import": "import_"}  # where a command's name is a word of Python
EXIT_CODES = """\b
Exit codes:
  0 ok                  5 integrity (wrong MD5, broken file)
  2 usage               6 disk or permission
  3 not found           7 stale or incomplete
  4 network             8 backend
  130 interrupted

\b
Settings, each before the next: a flag, a variable DVSPREP_*, the file
$DVSPREP_CONFIG or else config.toml in the user's config folder, a default.
`dvsprep config` prints them."""

INTERRUPTED = 130


class LazyGroup(click.Group):
    """Imports a command's file when it is called, so that --help waits for nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        if name not in COMMANDS:
            return None
        return importlib.import_module(f"dvsprep.cli.{MODULES.get(name, name)}").command  # type: ignore[no-any-return]

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            raise click.UsageError(f"no command {args[0]!r}" + (f"; did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=LazyGroup, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="dvsprep")
def cli() -> None:
    """Event-camera datasets from the downloaded archive to the tensor a network trains on.

    \b
        dvsprep frames sample --split-by number -T 20
        dvsprep play "$(dvsprep frames sample --split-by number -T 20 | head -n 1)"
    """


def main(argv: list[str] | None = None) -> int:
    """Run the command line and end with the exit code of design: one line on stderr, never a traceback."""
    arguments = sys.argv[1:] if argv is None else argv
    try:
        # Not cli.main(): that answers Ctrl-C with an empty line, and a closed pipe with exit code 1.
        with cli.make_context("dvsprep", list(arguments) or ["--help"]) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        return error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        return _fail("interrupted; the same command goes on where this one stopped", INTERRUPTED, arguments)
    except click.ClickException as error:
        return _fail(_usage(error), error.exit_code, arguments)
    except Failed as failed:
        why = failed.error
        return _fail(why.message, why.exit_code, arguments, why.hint, failed.result, why.details)
    except DvsprepError as error:
        several_lines = isinstance(error, ManualDownloadError)
        return _fail(
            error.message if several_lines else _one_line(error.message),
            error.exit_code,
            arguments,
            error.hint,
            details=error.details,
        )
    except BrokenPipeError:
        _drop_stdout()  # its reader has gone (`| head`), which is not an error
        return 0
    except OSError as error:
        from dvsprep.disk import explain

        why = explain(error)
        return _fail(_one_line(why.message), why.exit_code, arguments, why.hint)
    except MemoryError:
        return _fail("out of memory; fewer workers need less: --jobs 1", DiskError.exit_code, arguments)
    except Exception as error:  # a bug of ours: one line for the user, the traceback for who looks into it
        if os.environ.get("DVSPREP_DEBUG"):
            raise
        message = _one_line(f"this is a bug of dvsprep: {type(error).__name__}: {error}")
        return _fail(message, 1, arguments, "please report it with what DVSPREP_DEBUG=1 prints")
    return 0


def run() -> None:
    """Run as a script."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller (`>&-`)
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115
    interrupts.obey()
    try:
        code = main()
    except KeyboardInterrupt:  # a second Ctrl-C, while the first was answered
        code = INTERRUPTED
    if code == INTERRUPTED:
        # At once: Python would wait for what worker threads have begun, and a third Ctrl-C end that in a traceback.
        # Nothing is lost, for a build survives even SIGKILL.
        os._exit(code)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # told already, or nobody listens: at its end Python would try again, and exit with 120
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    gc.freeze()  # Python would go through all that Numba holds, twice, for nothing: a fifth of a short command
    sys.exit(code)


def _usage(error: click.ClickException) -> str:
    message = _one_line(error.format_message()).removesuffix(".")
    if isinstance(error, click.UsageError) and error.ctx is not None:
        message += f" (see `{error.ctx.command_path} --help`)"
    return message


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _drop_stdout() -> None:
    """Have what stdout still holds go nowhere, so that Python does not complain at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail(
    message: str,
    code: int,
    arguments: list[str],
    hint: str | None = None,
    result: dict[str, Any] | None = None,
    details: Sequence[str] = (),
) -> int:
    if "--json" in arguments:
        told = {"message": message, "hint": hint, "exit_code": code, "details": list(details)}
        try:
            emit((result or {}) | {"error": told})
        except OSError:
            _drop_stdout()  # stdout itself may be what failed
    for line in details:  # first, so that the error itself is what the eye falls on
        say(f"  {_one_line(line)}")
    say(f"dvsprep: {message}" + (f" ({hint})" if hint else ""))
    return code
