"""How the library tells a listener what it is doing; the shell's spinner is one listener."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str], None]


def silent(_message: str) -> None:
    """Listen to nothing."""
