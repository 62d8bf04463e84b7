"""What every object store's refusals have in common."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from serve_deploy.errors import EndpointError, UsageError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.bucket import Doing, Refusal
from serve_deploy.stores.backends.secrets import without_secrets
from serve_deploy.stores.store import StoreUnreachableError

if TYPE_CHECKING:
    import requests

VERBS: Mapping[Doing, str] = {
    "list": "listing it", "read": "reading from it", "write": "writing to it", "copy": "copying in it",
    "delete": "deleting from it",
}  # fmt: skip


@dataclass(frozen=True)
class ClockDifference:
    """How far this machine's clock is ahead of a store's, or behind it where it is negative."""

    ahead_seconds: float

    @property
    def seconds(self) -> float:
        """Either way."""
        return abs(self.ahead_seconds)

    def __str__(self) -> str:
        units = ((3600, "hours"), (60, "minutes"), (1, "seconds"))
        length, unit = next(each for each in units if self.seconds >= 2 * each[0] or each[0] == 1)
        size = f"{self.seconds / length:,.0f} {unit}"
        return f"{size} {'ahead of' if self.ahead_seconds > 0 else 'behind'} the store's"


def clock_difference(date: str | None) -> ClockDifference | None:
    """By the Date header of an answer that has just come; None where there is none."""
    try:
        there = parsedate_to_datetime(date or "")
    except ValueError:
        return None
    # One without a zone is in UTC.
    return ClockDifference((datetime.now(UTC) - there.replace(tzinfo=there.tzinfo or UTC)).total_seconds())


@dataclass(frozen=True)
class Words:
    """Refusals that name the store and none of these secrets."""

    address: StoreAddress
    secrets: Sequence[str] = ()

    def refusing(self, message: str, hint: str | None = None) -> Refusal:
        """It will not work when tried again."""
        return Refusal(EndpointError(self._name(message), hint=hint))

    def passing(self, message: str, hint: str = "run it again; what was sent is kept") -> Refusal:
        """It may work when tried again."""
        return Refusal(StoreUnreachableError(self._name(message), hint=hint), is_transient=True)

    def judge_requests(self, error: requests.RequestException) -> Refusal:
        """What a broken connection of the requests library means."""
        import requests

        if isinstance(error, requests.exceptions.SSLError):
            return self.untrusted(error, "REQUESTS_CA_BUNDLE")
        if isinstance(error, requests.exceptions.ProxyError):
            return self.passing("the proxy does not answer", "check HTTPS_PROXY and NO_PROXY")
        if isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
            return self.refusing("its endpoint is not an address", "give it as https://host:port")
        if isinstance(error, requests.exceptions.ConnectTimeout) or _is_unreachable(error):
            return self.unreachable("it")
        if isinstance(error, requests.exceptions.ReadTimeout):
            return self.passing("it does not answer")
        return self.passing("the connection broke")

    def corrupted(self) -> Refusal:
        """The store holds other bytes than were sent."""
        return self.passing("what arrived was not what was sent")

    def untrusted(self, error: Exception, ca_variable: str) -> Refusal:
        """Its certificate was signed by somebody unknown, or there is none; or a connection broke below TLS.

        `ca_variable` names a file of authorities.
        """
        said = str(error).lower().replace("_", " ")
        if "wrong version number" in said:
            return self.refusing("it does not speak https", "give its address with http://")
        if "certificate" not in said and "unknown ca" not in said:
            return self.passing("the TLS connection broke")
        return self.refusing(
            "its TLS certificate is not trusted", f"give the authority that signed it: {ca_variable}=/path/to/ca.pem"
        )

    def unreachable(self, what: str) -> Refusal:
        """Nothing listens, or the name is unknown."""
        return self.passing(f"{what} cannot be reached", "check the endpoint's host and port, and the network")

    def _name(self, message: str) -> str:
        return without_secrets(f"{self.address}: {message}", self.secrets)


def require_authorities(*variables: str) -> None:
    """UsageError where a variable names a file of authorities that is not there: libraries do not say which."""
    for name in variables:
        if (path := os.environ.get(name)) and not os.path.exists(path):
            raise UsageError(f"{name} names {path}, which is not there", hint="name the authority's certificate")


def _is_unreachable(error: Exception) -> bool:
    return any(sign in repr(error) for sign in ("NewConnection", "NameResolution"))
