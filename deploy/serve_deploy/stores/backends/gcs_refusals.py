"""What Google Cloud Storage's errors mean, in words."""

from __future__ import annotations

import re
from dataclasses import replace

import requests
from google.api_core.exceptions import GoogleAPICallError, RetryError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, RefreshError, TransportError
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from urllib3.exceptions import HTTPError

from serve_deploy.errors import EndpointError
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.backends.bucket import CorruptedError, Doing, Refusal
from serve_deploy.stores.backends.words import VERBS, Words

_PERMISSIONS = {
    "list": "storage.objects.list", "read": "storage.objects.get",
    "write": "storage.objects.create and storage.objects.delete",
    "copy": "storage.objects.get, storage.objects.create and storage.objects.delete",
    "delete": "storage.objects.delete",
}  # fmt: skip
_GIVE_CREDENTIALS = (
    "run gcloud auth application-default login, set GOOGLE_APPLICATION_CREDENTIALS to a key's file, or run where an "
    "identity gives them (workload identity, an instance)"
)
_BUSY = {408, 409, 429, 500, 502, 503, 504}


class GcsRefusals:
    """Refusals of one store."""

    def __init__(self, address: StoreAddress, is_anonymous: bool) -> None:
        self._words, self._is_anonymous = Words(address), is_anonymous
        self._bucket = address.location.partition("/")[0]

    def judge(self, error: Exception, doing: Doing) -> Refusal:
        """What an error of Google's libraries means while something was being done."""
        if isinstance(error, DataCorruption | CorruptedError):
            return self._words.corrupted()
        if isinstance(error, RetryError):
            # The library has tried for long enough.
            return replace(self._words.passing("the connection broke, time and again"), is_transient=False)
        if isinstance(error, GoogleAPICallError) and error.code is not None:
            return self._judge_status(int(error.code), _said(str(error.message)), doing)
        if isinstance(error, InvalidResponse):
            return self._judge_status(error.response.status_code, _said(error.response.text), doing)
        if isinstance(error, GoogleAuthError):
            return self._refuse_access(doing, "") if self._is_anonymous else self._judge_login(error)
        if isinstance(error, requests.RequestException):
            return self._words.judge_requests(error)
        if isinstance(error, HTTPError):
            return self._words.passing("the connection broke")
        if isinstance(error, AttributeError):
            return self._words.refusing(
                "what answers is not Google Cloud Storage", "check STORAGE_EMULATOR_HOST and the proxy"
            )
        return self._words.refusing(_said(str(error)))

    def _judge_status(self, status: int, said: str, doing: Doing) -> Refusal:
        if status in (412, 304):
            return Refusal(EndpointError(f"{self._words.address} changed meanwhile", hint="try again"), is_changed=True)
        if status in _BUSY:
            return self._words.passing(f"it is too busy, or broken ({status})")
        if status == 401:
            return self._words.refusing("the credentials are not valid, or have expired", _GIVE_CREDENTIALS)
        if status == 403:
            return self._refuse_access(doing, said)
        if status == 404:
            return self._words.refusing(
                f"there is no bucket {self._bucket}, or these credentials may not see it",
                "check its name, or create it: gcloud storage buckets create",
            )
        return self._words.refusing(f"it refused: {said or 'no reason given'} ({status})")

    def _refuse_access(self, doing: Doing, said: str) -> Refusal:
        if self._is_anonymous:
            return self._words.refusing(
                f"no Google credentials were found, and {VERBS[doing]} without them is not allowed", _GIVE_CREDENTIALS
            )
        if "quota" in said.lower() or "rate limit" in said.lower():
            return self._words.passing(f"a quota is used up: {said}")
        return self._words.refusing(
            f"{VERBS[doing]} is not allowed{f': {said}' if said else ''}",
            f"the credentials need {_PERMISSIONS[doing]} on this bucket",
        )

    def _judge_login(self, error: GoogleAuthError) -> Refusal:
        if isinstance(error, TransportError):
            return self._words.passing("the login service cannot be reached", "check the network and HTTPS_PROXY")
        said = _said(str(error.args[0]) if error.args else "")
        if isinstance(error, RefreshError) and re.search(r"(?i)iat|exp\b|clock|short-lived", said):
            return self._words.refusing(
                f"the login was refused, perhaps for this machine's clock: {said}",
                "set the clock, for example with NTP",
            )
        if isinstance(error, RefreshError | DefaultCredentialsError):
            return self._words.refusing(f"the Google login has expired, or is not valid: {said}", _GIVE_CREDENTIALS)
        return self._words.refusing(f"the Google login failed: {said}", _GIVE_CREDENTIALS)


def _said(text: str) -> str:
    """What a message says, without the request's address before it."""
    return re.sub(r"^\d{3} [A-Z]+ \S+: ", "", " ".join(text.split()))[:300]
