"""Keep credentials out of what is said."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

# A value that follows one of these, in an address, a connection string or a header.
_NAMED = re.compile(
    r"(?i)((?:sig|signature|x-amz-signature|x-amz-security-token|x-amz-credential|x-goog-signature|awsaccesskeyid|"
    r"accountkey|sharedaccesskey|sharedaccesssignature|access_token|refresh_token|client_secret|password|secret)"
    r"\s*[=:]\s*[\"']?|bearer\s+)([^\s&;,\"'@]+)|(://[^/@\s:]+:)([^\s/@]+)(?=@)"
)
_SECRET_VARIABLES = re.compile(r"(KEY|SECRET|TOKEN|PASSWORD|SAS|CONNECTION_STRING|CREDENTIALS?)(_ID)?$")
_PATHS = {"GOOGLE_APPLICATION_CREDENTIALS"}
_SHORTEST = 6


def without_secrets(text: str, known: Iterable[str] = ()) -> str:
    """A text of a library or a server, without what may let somebody in: what is known, and what looks like it."""
    for secret in known:
        if len(secret) >= _SHORTEST:
            text = text.replace(secret, "***")
    for name, value in os.environ.items():
        if _SECRET_VARIABLES.search(name) and name not in _PATHS and len(value) >= _SHORTEST:
            text = text.replace(value, "***")
    return _NAMED.sub(r"\1\3***", text)
