"""What a registry refused, in words; nothing of a request is repeated, for it carries credentials."""

from __future__ import annotations

import re
import ssl
from typing import TYPE_CHECKING

from serve_deploy.errors import DestinationError, EndpointError, ServeError
from serve_deploy.stores.oci.reference import ImageReference

if TYPE_CHECKING:
    from requests import RequestException, Response

_LONGEST_REASON = 300
_QUOTA = re.compile(r"quota|storage limit|insufficient storage|no space left|exceed", re.IGNORECASE)


def reason_of(response: Response) -> str:
    """What the registry said, on one line: its errors' messages, or the status."""
    try:
        errors = response.json()["errors"]
        said = "; ".join(str(error.get("message") or error.get("code")) for error in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        said = ""
    status = f"{response.status_code} {response.reason or ''}".strip()
    text = f"{status}: {said}" if said else status
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text)[:_LONGEST_REASON]


def describe_refusal(response: Response, reference: ImageReference, doing: str) -> ServeError:
    """The error for an answer that is none of those that were expected."""
    host, said = reference.registry, reason_of(response)
    match response.status_code:
        case 401:
            return EndpointError(
                f"{host} does not let you {doing}: it knows no valid login",
                hint=f"log in: docker login {host}; some say so of a repository that they do not have, too",
            )
        case 403 | 412 | 507 if _QUOTA.search(said):
            return DestinationError(
                f"{host} has no room to {doing}: {said}", hint="free some of its quota, or raise it"
            )
        case 403:
            return EndpointError(
                f"{host} does not let you {doing}: {said}",
                hint=f"ask for that right on {reference.repository}, or log in as another user: docker login {host}",
            )
        case 404:
            return EndpointError(
                f"{host} cannot {doing}: {said}", hint="check whether the registry and the repository are spelled right"
            )
        case 405:
            return DestinationError(
                f"{host} cannot {doing}: it is read-only ({said})", hint="push to a registry that takes pushes"
            )
        case 413 | 416:
            return DestinationError(
                f"{host} cannot {doing}: that is larger than it takes ({said})",
                hint="raise the limit of the registry, or of the proxy in front of it",
            )
        case 429:
            return EndpointError(f"{host} cannot {doing}: too many requests", hint="try again later, or log in")
        case status if status >= 500:
            return EndpointError(f"{host} cannot {doing}: {said}", hint="try again later, or see the registry's log")
    return EndpointError(f"{host} refused to {doing}: {said}", hint="look at the registry's log")


def describe_break(error: RequestException, reference: ImageReference) -> ServeError:
    """The error for a registry that did not answer, or broke off."""
    host, cause = reference.registry, _root_cause(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return EndpointError(
            f"the certificate of {host} is not trusted: {cause.verify_message}",
            hint="name its authority's certificate by REQUESTS_CA_BUNDLE=ca.pem",
        )
    if isinstance(cause, ssl.SSLError):
        return EndpointError(
            f"{host} does not speak TLS: {cause.reason or cause}",
            hint=f"where it is meant to be plain http: SERVE_HTTP_REGISTRIES={host}",
        )
    said = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    said = "it does not answer" if isinstance(cause, TimeoutError) else " ".join(said.lower().split())[:300]
    return EndpointError(
        f"cannot reach the registry {host}: {said}", hint="check whether it runs, and whether its name is right"
    )


def is_about_trust(error: RequestException) -> bool:
    """Whether the other end speaks TLS, and its certificate is not trusted."""
    return isinstance(_root_cause(error), ssl.SSLCertVerificationError)


def _root_cause(error: BaseException) -> BaseException:
    """Libraries wrap what the system said several times."""
    seen: list[BaseException] = [error]
    while True:
        last = seen[-1]
        inner = [getattr(last, "reason", None), last.__cause__, last.__context__, *last.args]
        deeper = next((each for each in inner if isinstance(each, BaseException) and each not in seen), None)
        if deeper is None or isinstance(last, ssl.SSLError):
            return last
        seen.append(deeper)
