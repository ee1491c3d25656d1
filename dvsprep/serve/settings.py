"""How a service is run: one value that its worker processes are given too."""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dvsprep.errors import DiskError, NotFoundError, UsageError

VARIABLE = "_DVSPREP_SERVE"  # how workers get it; nobody else sets it
LOOPBACK = ("localhost", "127.0.0.1", "::1")
SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class Settings:
    """All that a service is told.

    Parameters
    ----------
    hosts : tuple of str
        Names that a Host header may have besides the loopback ones; where it listens on other addresses and none is
        given, every name may: there the token guards.
    origins : tuple of str
        Pages of these origins may read answers (CORS).
    plugins : tuple of str
        The plugin specs that a build may name.
    rate : float
        Requests a second that one address may send, four times as many at once; 0 for no limit.
    """

    roots: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 8765
    token_file: str | None = None
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    build: bool = True
    plugins: tuple[str, ...] = ()
    rate: float = 2000.0
    json_log: bool = False

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the service."""
        if self.host in LOOPBACK:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def token(self) -> str | None:
        """Return the token that every request needs, if any.

        Raises
        ------
        UsageError
            Other machines could reach the service, and there is none.
        """
        if self.token_file is None:
            if not self.is_local:
                raise UsageError(
                    f"--host {self.host} can be reached from other machines, and no --token-file is given",
                    hint="`openssl rand -hex 32 > token; chmod 600 token` makes one",
                )
            return None
        try:
            token = Path(self.token_file).read_text("ascii").strip()
        except FileNotFoundError:
            raise NotFoundError(f"{self.token_file}: no such token file") from None
        except (OSError, UnicodeDecodeError) as error:
            raise DiskError(f"{self.token_file}: cannot be read as a token: {error}") from None
        if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
            raise UsageError(
                f"{self.token_file}: expected one line of at least {SHORTEST_TOKEN} characters without blanks",
                hint="`openssl rand -hex 32` makes one",
            )
        return token

    def to_environment(self) -> None:
        """Leave the settings to worker processes."""
        os.environ[VARIABLE] = json.dumps(asdict(self))

    @classmethod
    def from_environment(cls) -> Settings:
        """Take what :meth:`to_environment` left."""
        told: dict[str, Any] = json.loads(os.environ[VARIABLE])
        lists: dict[str, Any] = {name: tuple(value) for name, value in told.items() if isinstance(value, list)}
        return cls(**(told | lists))
