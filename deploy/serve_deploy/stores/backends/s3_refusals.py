"""What S3's errors mean, in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from botocore import exceptions as boto
from botocore.exceptions import ClientError
from urllib3.exceptions import HTTPError

from serve_deploy.errors import DestinationError, EndpointError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.bucket import CorruptedError, Doing, Refusal, StrangeAnswerError
from serve_deploy.stores.backends.words import VERBS, Words, clock_difference

_PERMISSIONS = {
    "list": "s3:ListBucket", "read": "s3:GetObject", "write": "s3:PutObject", "copy": "s3:GetObject and s3:PutObject",
    "delete": "s3:DeleteObject",
}  # fmt: skip
_GIVE_CREDENTIALS = (
    "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or run where a role gives them (a pod's service "
    "account, an instance)"
)
_CHANGED = {"PreconditionFailed", "412"}
_NO_CONDITIONS = {"NotImplemented", "501"}
_BUSY = {
    "SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequests", "ServiceUnavailable",
    "InternalError", "RequestTimeout", "OperationAborted", "BadDigest", "XAmzContentSHA256Mismatch", "IncompleteBody",
    "ConditionalRequestConflict", "429", "500", "502", "503", "504",
}  # fmt: skip
_FULL = {
    "QuotaExceeded",
    "XMinioStorageFull",
    "StorageFull",
    "InsufficientStorage",
    "XMinioAdminBucketQuotaExceeded",
    "507",
}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"}
_WRONG_KEY = {"InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "InvalidSecurity", "AuthFailure"}
_WRONG_REGION = {"PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "301"}
_BROKEN = (
    boto.ConnectionError, boto.ConnectionClosedError, boto.HTTPClientError, boto.ReadTimeoutError,
    boto.ResponseStreamingError, boto.IncompleteReadError,
)  # fmt: skip
_NO_CREDENTIALS = (
    boto.NoCredentialsError, boto.PartialCredentialsError, boto.CredentialRetrievalError, boto.NoAuthTokenError,
    boto.InvalidConfigError, boto.ProfileNotFound, boto.ConfigParseError,
)  # fmt: skip
_EXPIRED_LOGIN = (boto.UnauthorizedSSOTokenError, boto.TokenRetrievalError, boto.SSOTokenLoadError)


def code_of(error: ClientError) -> str:
    """S3's own code of an error, or the HTTP status where its answer had no body."""
    return str(error.response.get("Error", {}).get("Code", ""))


class S3Refusals:
    """Refusals of one store; `secrets` are the credentials in use, none where it is asked without any."""

    def __init__(self, address: StoreAddress, secrets: Sequence[str]) -> None:
        self._words, self._secrets = Words(address, secrets), secrets
        self._bucket = address.location.partition("/")[0]
        self._endpoint, self._where = address.endpoint, address.endpoint or "AWS"

    def judge(self, error: Exception, doing: Doing) -> Refusal:
        """What an error of botocore means while something was being done."""
        if isinstance(error, ClientError):
            return self._judge_answer(error, doing)
        if isinstance(error, CorruptedError):
            return self._words.corrupted()
        # What every answer of S3 has is not in it.
        if isinstance(error, StrangeAnswerError | KeyError):
            return self._refuse_strange()
        if isinstance(error, _NO_CREDENTIALS):
            return self._words.refusing(f"no usable AWS credentials: {_first_line(error)}", _GIVE_CREDENTIALS)
        if isinstance(error, _EXPIRED_LOGIN):
            return self._words.refusing("the AWS login has expired", "log in again: aws sso login")
        if isinstance(error, boto.ParamValidationError) and "Invalid bucket name" in str(error):
            return self._words.refusing(
                f"{self._bucket} cannot be the name of a bucket", "a name has 3 to 63 of a to z, 0 to 9, - and ."
            )
        if isinstance(error, boto.ParamValidationError | boto.InvalidRegionError | boto.EndpointProviderError):
            return self._words.refusing(_first_line(error), "check the bucket's name, the endpoint and AWS_REGION")
        if isinstance(error, _BROKEN):
            return self._judge_connection(error)
        if isinstance(error, HTTPError):
            # Of an answer's body, where it is TLS that broke.
            return self._words.passing("the connection broke")
        return self._words.refusing(_first_line(error))

    def _judge_answer(self, error: ClientError, doing: Doing) -> Refusal:
        code = code_of(error)
        # A write with a condition on an object that is gone is answered so.
        if code in _CHANGED or (code == "NoSuchKey" and doing == "write"):
            return Refusal(EndpointError(f"{self._words.address} changed meanwhile", hint="try again"), is_changed=True)
        if code in _NO_CONDITIONS:
            refusal = self._words.refusing("it does not know what was asked of it")
            return replace(refusal, knows_no_conditions=True)
        if code in _BUSY:
            return self._words.passing(f"it is too busy, or broken ({code})")
        if code in _FULL:
            return Refusal(
                DestinationError(f"{self._words.address} is full ({code})", hint="free space, or raise the quota")
            )
        if self._endpoint and (place := _redirection(error)):
            return self._words.refusing(
                f"{self._where} redirects to {place}", f"give that as the server: s3://{place}/…"
            )
        said = _message(error)
        table: list[tuple[set[str], str, str]] = [
            ({"NoSuchBucket"}, f"there is no bucket {self._bucket} at {self._where}",
             "check its name, or create it with your store's own tool; for a server other than AWS: "
             "s3://https://host:port/bucket/path"),
            (_EXPIRED, "the session token has expired", "renew it (aws sso login, or your own way) and run this again"),
            ({"RequestTimeTooSkewed"}, f"this machine's clock is {_skew(error)}", "set it, for example with NTP"),
            (_WRONG_KEY, f"it does not take these credentials ({code})",
             "check AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; another store takes other keys"),
            (_WRONG_REGION, f"the bucket is in another region{_region(error)}", "set AWS_REGION to it"),
        ]  # fmt: skip
        for codes, message, hint in table:
            if code in codes:
                return self._words.refusing(message, hint)
        if code in ("AccessDenied", "AllAccessDisabled", "403", "Forbidden", "UnauthorizedAccess", "401"):
            return self._refuse_access(doing, said)
        if code in ("404", "405", "MethodNotAllowed", "NoSuchKey", "") or not said:
            return self._refuse_strange()
        return self._words.refusing(f"it refused: {said} ({code})")

    def _refuse_strange(self) -> Refusal:
        return self._words.refusing(
            f"what answers at {self._where} does not speak S3, or not at this path",
            "check the endpoint's host and port; some servers have a port for people and another for S3",
        )

    def _refuse_access(self, doing: Doing, said: str) -> Refusal:
        if not self._secrets:
            return self._words.refusing(
                f"no AWS credentials were found, and {VERBS[doing]} without them is not allowed", _GIVE_CREDENTIALS
            )
        about = f": {said}" if said and said.rstrip(".").lower() not in ("access denied", "forbidden") else ""
        return self._words.refusing(
            f"{VERBS[doing]} is not allowed{about}", f"the credentials need {_PERMISSIONS[doing]} on this path"
        )

    def _judge_connection(self, error: Exception) -> Refusal:
        if isinstance(error, boto.SSLError):
            return self._words.untrusted(error, "AWS_CA_BUNDLE")
        if isinstance(error, boto.ProxyConnectionError):
            return self._words.passing("the proxy does not answer", "check HTTPS_PROXY and NO_PROXY")
        if isinstance(error, boto.EndpointConnectionError | boto.ConnectTimeoutError):
            return self._words.unreachable(self._where)
        if isinstance(error, boto.ReadTimeoutError):
            return self._words.passing(f"{self._where} does not answer")
        return self._words.passing("the connection broke")


def _message(error: ClientError) -> str:
    return " ".join(str(error.response.get("Error", {}).get("Message", "")).split())[:300]


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]


def _region(error: ClientError) -> str:
    details: dict[str, Any] = error.response.get("Error", {})
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    region = details.get("Region") or headers.get("x-amz-bucket-region")
    found = region or "".join(re.findall(r"expecting '([a-z0-9-]+)'", _message(error)))
    return f", {found}" if found else ""


def _redirection(error: ClientError) -> str:
    """The server that an answer sends to, without what follows it, which may hold a secret."""
    answer = error.response.get("ResponseMetadata", {})
    place = urlsplit(answer.get("HTTPHeaders", {}).get("location", ""))
    return (
        f"{place.scheme}://{place.netloc.rpartition('@')[2]}"
        if 300 <= answer.get("HTTPStatusCode", 0) < 400 and place.netloc
        else ""
    )


def _skew(error: ClientError) -> str:
    headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return str(clock_difference(headers.get("date")) or "too far from the store's")
