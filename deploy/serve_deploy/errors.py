"""What can go wrong, and the exit code that each kind ends the command with."""

from __future__ import annotations

from typing import ClassVar


class ServeError(Exception):
    """What happened, to which file or field; `hint` says what to do next."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(ServeError):
    """An option or argument is wrong, or two of them contradict each other."""

    exit_code = 2


class InvalidModelError(ServeError):
    """The model file or repository is invalid, or Triton cannot serve it."""

    exit_code = 3


class DestinationError(ServeError):
    """The destination exists already, is not writable or is full."""

    exit_code = 4


class TritonStartError(ServeError):
    """Triton did not start, or did not become ready in time."""

    exit_code = 5


class EndpointError(ServeError):
    """A Triton endpoint or a cluster cannot be reached, or refused the request."""

    exit_code = 6


class ThresholdError(ServeError):
    """A measured value missed its threshold, or could not be judged."""

    exit_code = 7


class VerificationError(ServeError):
    """Served outputs differ from the model's own."""

    exit_code = 8


class Interrupted(ServeError):
    """The user ended the run with Ctrl-C, or SIGTERM did."""

    exit_code = 130

    def __init__(self, message: str = "interrupted", *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
