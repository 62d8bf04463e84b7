"""Try again what is worth it, with backoff."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from serve_deploy.stores.backends.bucket import Bucket, Doing, Refusal
from serve_deploy.stores.store import OnBytes

T = TypeVar("T")
# About 13 seconds in all; where nothing has ever answered, a wrong address is likelier than a fault that passes.
_TRIES, _FIRST_TRIES = 8, 3
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 8.0
_SLICE_SECONDS = 0.1


class RefusedError(Exception):
    """A try failed for good; what it means stands in `refusal`."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.error.message)
        self.refusal = refusal


class Persistence:
    """Tries of requests to one store; safe to use from several threads."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._has_answered = False

    def do(
        self,
        call: Callable[[], T],
        doing: Doing,
        on_bytes: OnBytes | None = None,
        progress: Callable[[], int] = lambda: 0,
    ) -> T:
        """What a call returns in the end; a ServeError in words where it failed for good."""
        try:
            return self.attempt(call, doing, on_bytes, progress)
        except RefusedError as refused:
            error = refused.refusal.error
        raise error

    def attempt(
        self,
        call: Callable[[], T],
        doing: Doing,
        on_bytes: OnBytes | None = None,
        progress: Callable[[], int] = lambda: 0,
    ) -> T:
        """What a call returns in the end; RefusedError where it failed for good.

        A try that got further, by what `progress` tells, is the first again.
        """
        tried, reached = 0, progress()
        while True:
            tried += 1
            refusal = None
            try:
                result = call()
            except self._bucket.errors as error:
                refusal = self._bucket.judge(error, doing)
            if refusal is None:
                self._has_answered = True
                return result
            if (now := progress()) > reached:
                tried, reached = 1, now
            # Outside of the handler, so that the library's error, which may hold a signed address, is not its context.
            if not refusal.is_transient or tried >= (_TRIES if self._has_answered else _FIRST_TRIES):
                raise RefusedError(refusal)
            self._pause(min(_FIRST_PAUSE_SECONDS * 2 ** (tried - 1), _LONGEST_PAUSE_SECONDS), on_bytes)

    def _pause(self, seconds: float, on_bytes: OnBytes | None) -> None:
        left = seconds * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
        while left > 0:
            # The caller ends a transfer by raising from here.
            if on_bytes:
                on_bytes(0)
            time.sleep(min(left, _SLICE_SECONDS))
            left -= _SLICE_SECONDS
