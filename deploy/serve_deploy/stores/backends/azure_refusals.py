"""What Azure's errors mean, in words."""

from __future__ import annotations

import requests
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ResourceExistsError,
    ResourceModifiedError,
    ServiceRequestError,
    ServiceResponseError,
)

from serve_deploy.errors import DestinationError, EndpointError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.azure_access import Access
from serve_deploy.stores.backends.bucket import Doing, Refusal
from serve_deploy.stores.backends.words import VERBS, Words, clock_difference

_GIVE_CREDENTIALS = (
    "set AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING, run az login, or run where an "
    "identity gives them (workload identity, a managed identity)"
)
_BUSY = {
    "ServerBusy",
    "OperationTimedOut",
    "InternalError",
    "Md5Mismatch",
    "InvalidMd5",
    "TooManyRequests",
    "PendingCopyOperation",
}
# Of all that Azure answers with 409: others are policies that forbid a change, or a container that is going.
_EXISTS = {"", "BlobAlreadyExists", "ResourceAlreadyExists"}
_FULL = {"InsufficientStorage", "AccountQuotaExceeded", "StorageQuotaExceeded"}
_DENIED = {
    "AuthorizationFailure", "AuthorizationPermissionMismatch", "InsufficientAccountPermissions",
    "AuthorizationServiceMismatch", "AuthorizationResourceTypeMismatch", "AuthorizationSourceIPMismatch",
    "KeyBasedAuthenticationNotPermitted", "AccountIsDisabled",
}  # fmt: skip
_ANONYMOUS = {"NoAuthenticationInformation", "PublicAccessNotPermitted", "ResourceNotFound"}
_ROLES = {
    "list": "Storage Blob Data Reader", "read": "Storage Blob Data Reader", "write": "Storage Blob Data Contributor",
    "copy": "Storage Blob Data Contributor", "delete": "Storage Blob Data Contributor",
}  # fmt: skip


class AzureRefusals:
    """Refusals of one store; `access` is None before it was found."""

    def __init__(self, address: StoreAddress, access: Access | None) -> None:
        self._words = Words(address, access.secrets if access else ())
        self._is_anonymous = access is not None and access.credential is None
        self._account, self._container = address.location.split("/")[:2]

    def judge(self, error: Exception, doing: Doing) -> Refusal:
        """What an error of Azure's libraries means while something was being done."""
        exists = isinstance(error, ResourceExistsError) and _code(error) in _EXISTS
        if isinstance(error, ResourceModifiedError) or exists:
            return Refusal(EndpointError(f"{self._words.address} changed meanwhile", hint="try again"), is_changed=True)
        if isinstance(error, ServiceRequestError | ServiceResponseError | IncompleteReadError):
            return self._judge_connection(error)
        if isinstance(error, HttpResponseError) and error.response is not None:
            return self._judge_answer(error, doing)
        if isinstance(error, HttpResponseError) and not isinstance(error, ClientAuthenticationError):
            return self._words.passing("the connection broke")
        if isinstance(error, ClientAuthenticationError):
            return self._words.refusing(f"the Azure login failed: {_first_line(error)}", _GIVE_CREDENTIALS)
        if isinstance(error, ValueError):
            return self._words.refusing(
                f"what answers is not Azure Blob Storage: {_first_line(error)}",
                "check AZURE_STORAGE_SERVICE_ENDPOINT or the connection string's BlobEndpoint, and the proxy",
            )
        return self._words.refusing(_first_line(error))

    def _judge_answer(self, error: HttpResponseError, doing: Doing) -> Refusal:
        code, status = _code(error), int(error.status_code or 0)
        if status == 412:
            return Refusal(EndpointError(f"{self._words.address} changed meanwhile", hint="try again"), is_changed=True)
        if code in _FULL or status == 507:
            error_ = DestinationError(f"{self._words.address} is full ({code or status})", hint="raise the quota")
            return Refusal(error_)
        if code in _BUSY or "md5" in str(error.message).lower() or status in (408, 429, 500, 502, 503, 504):
            return self._words.passing(f"it is too busy, or broken ({code or status})")
        if code == "ContainerNotFound":
            return self._words.refusing(
                f"there is no container {self._container} in the account {self._account}",
                "check its name, or create it: az storage container create",
            )
        if self._is_anonymous and (status in (401, 403) or code in _ANONYMOUS):
            return self._words.refusing(
                f"no Azure credentials were found, and {VERBS[doing]} without them is not allowed", _GIVE_CREDENTIALS
            )
        if code in _DENIED or (status == 403 and code != "AuthenticationFailed"):
            return self._words.refusing(
                f"{VERBS[doing]} is not allowed ({code or status})",
                f"the credentials need the role {_ROLES[doing]} on the container, and the account's firewall to let "
                "this machine in",
            )
        if status in (401, 403):
            return self._refuse_login(error)
        return self._words.refusing(f"it refused: {_first_line(error)} ({code or status})")

    def _refuse_login(self, error: HttpResponseError) -> Refusal:
        said = str(getattr(error, "message", "")).lower()
        skew = clock_difference(getattr(error.response, "headers", {}).get("Date"))
        if "date header" in said or "too old" in said or (skew and skew.seconds > 900):
            return self._words.refusing(f"this machine's clock is {skew or 'wrong'}", "set it, for example with NTP")
        if "expir" in said or "signed expiry" in said:
            return self._words.refusing(
                "the token has expired", "make a new one, and set AZURE_STORAGE_SAS_TOKEN to it"
            )
        return self._words.refusing(
            "it does not take these credentials",
            "check AZURE_STORAGE_KEY and the like; another account takes other keys",
        )

    def _judge_connection(self, error: Exception) -> Refusal:
        inner = getattr(error, "inner_exception", None)
        if isinstance(inner, requests.RequestException):
            return self._words.judge_requests(inner)
        if "NewConnection" in repr(inner) or "NameResolution" in repr(inner):
            return self._words.unreachable(f"the account {self._account}")
        return self._words.passing("the connection broke")


def _code(error: HttpResponseError) -> str:
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
