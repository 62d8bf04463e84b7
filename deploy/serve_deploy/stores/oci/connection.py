"""Requests to a registry: logged in where it wants that, tried again where that may help, each with an end."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from serve_deploy.errors import ServeError
from serve_deploy.stores.oci.failures import describe_break, describe_refusal, is_about_trust
from serve_deploy.stores.oci.logins import READ, Login
from serve_deploy.stores.oci.reference import ImageReference
from serve_deploy.stores.oci.sessions import make_registry
from serve_deploy.stores.store import StoreUnreachableError

if TYPE_CHECKING:
    from requests import RequestException, Response

_PASSING = (408, 425, 429, 500, 502, 503, 504)
_MOST_ATTEMPTS = 6
_LONGEST_PAUSE_SECONDS = 20.0


class BrokenError(StoreUnreachableError):
    """The connection broke, or the registry was too busy: worth another try, after as long as it says."""

    def __init__(self, message: str, *, hint: str | None = None, after_seconds: float = 0.0) -> None:
        super().__init__(message, hint=hint)
        self.after_seconds = after_seconds


class Connection:
    """One repository of a registry; safe to use from several threads.

    It is an oras `Registry` for its session, addresses and tokens. Its own requests are not used: they read whole blobs
    into memory, keep an expired token, and take two minutes to say that a password is wrong.
    """

    def __init__(
        self,
        reference: ImageReference,
        *,
        rights: str = READ,
        environment: Mapping[str, str] | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.reference = reference
        self._rights = rights
        self._environment = os.environ if environment is None else environment
        self._sleep = sleep
        self._lock = threading.Lock()
        self._registry: Any = None
        self._login: Login | None = None
        self._has_answered = False
        self._told = ""

    def close(self) -> None:
        """Close its connections."""
        if self._registry is not None:
            self._registry.session.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def request(
        self,
        method: str,
        where: str,
        doing: str,
        *,
        expected: Collection[int] = (200,),
        patient: bool = True,
        **options: Any,
    ) -> Response:
        """Ask for a path below the repository, such as blobs/sha256:…, or for a whole address.

        The answer's status is one of `expected`. Without `patient`, what another try may help with is a BrokenError at
        once: the caller has to begin at another place. Other refusals are errors in words; `doing` says what of.
        """
        attempt = 0
        while True:
            try:
                return self._try(method, where, doing, expected, options)
            except BrokenError as error:
                attempt += 1
                if not patient or attempt == _MOST_ATTEMPTS:
                    raise
                self.pause(attempt, error)

    def pause(self, attempt: int, error: BrokenError) -> None:
        """Wait before another try, longer each time, or as long as the registry said."""
        longest = min(_LONGEST_PAUSE_SECONDS, 0.25 * 2**attempt)
        self._sleep(max(error.after_seconds, random.uniform(longest / 2, longest)))  # noqa: S311

    def _try(self, method: str, where: str, doing: str, expected: Collection[int], options: dict[str, Any]) -> Response:
        from requests import RequestException

        login = self._open()
        url = urljoin(f"{self._base}/", where)
        try:
            response = self._send(login, method, url, options)
            if response.status_code == 401 and self._is_own(url) and login.renew(response):
                response = self._send(login, method, url, options)
        except RequestException as error:
            raise self.describe(error) from error
        self._has_answered = True
        self._told = response.headers.get("Date", "")
        if response.status_code in expected:
            return response
        refusal = describe_refusal(response, self.reference, doing)
        response.close()
        if response.status_code in _PASSING:
            raise BrokenError(refusal.message, hint=refusal.hint, after_seconds=_read_pause(response))
        raise refusal

    def _send(self, login: Login, method: str, url: str, options: dict[str, Any]) -> Response:
        body = options.get("data")
        headers = {**options.get("headers", {}), **(login.headers() if self._is_own(url) else {})}
        # A body is read anew for every try.
        sent = options | {"headers": headers} | ({"data": body()} if callable(body) else {})
        response: Response = self._registry.session.request(method, url, **sent)
        return response

    def describe(self, error: RequestException) -> ServeError:
        """The error for a connection that broke: a BrokenError where another try may help."""
        from requests.exceptions import InvalidURL

        described = describe_break(error, self.reference)
        # A registry that never answered is not there; one that did comes back.
        passing = self._has_answered and not (isinstance(error, InvalidURL) or is_about_trust(error))
        return BrokenError(described.message, hint=described.hint) if passing else described

    @property
    def _base(self) -> str:
        return f"{self._registry.prefix}://{self.reference.api_host}/v2/{self.reference.api_repository}"

    def _is_own(self, url: str) -> bool:
        """Whether it is the registry's own address: credentials go nowhere else."""
        parts = urlsplit(url)
        return parts.netloc == self.reference.api_host and parts.scheme == self._registry.prefix

    def read_clock(self) -> float:
        """When the registry answered last, by its own clock, the same for all who push; by ours where it tells none."""
        try:
            return parsedate_to_datetime(self._told).timestamp()
        except ValueError:
            return time.time()

    def resolve(self, location: str) -> str:
        """Where an answer sends us; a registry behind a proxy may not know that it is reached by https."""
        url = urljoin(f"{self._base}/", location)
        own = urlsplit(url)
        if own.netloc == self.reference.api_host:
            return own._replace(scheme=self._registry.prefix).geturl()
        return url

    def _open(self) -> Login:
        with self._lock:
            if self._login is None:
                self._registry = self._find()
                self._login = Login(self.reference, self._registry, self._environment, self._rights)
            return self._login

    def _find(self) -> Any:
        named = self._environment.get("SERVE_HTTP_REGISTRIES", "").split(",")
        plain = self.reference.registry in [each.strip() for each in named]
        registry = make_registry(self.reference, self._environment, plain=plain)
        if not self.reference.is_loopback or plain:
            return registry
        from requests import RequestException
        from requests.exceptions import SSLError

        try:
            registry.session.get(f"https://{self.reference.api_host}/v2/", allow_redirects=False).close()
        except SSLError as error:
            if not is_about_trust(error):
                registry.session.close()
                return make_registry(self.reference, self._environment, plain=True)
        except RequestException:
            # The first real request says it better.
            return registry
        return registry


def _read_pause(response: Response) -> float:
    said = response.headers.get("Retry-After", "")
    return min(60.0, float(said)) if said.isdecimal() else 0.0
