"""How a storage account is reached and what lets serve in: what its environment variables say, or an identity."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.core.pipeline.transport import RequestsTransport
from azure.storage.blob import ContainerClient
from requests.adapters import HTTPAdapter

from serve_deploy.errors import UsageError

_SCOPE = "https://storage.azure.com/.default"
_PIECE_BYTES = 4 << 20


@dataclass(frozen=True)
class Access:
    """An account's address and its credential, None where none was found; `secrets` must not be said.

    `token` is the shared access signature that is the credential, where it is one.
    """

    url: str
    credential: Any
    secrets: tuple[str, ...] = field(default=(), repr=False)
    token: str = field(default="", repr=False)

    def open_container(self, name: str) -> ContainerClient:
        """A client for a container; nothing is asked of it yet."""
        return ContainerClient(
            self.url,
            name,
            credential=self.credential,
            transport=make_transport(),
            # Tried again by serve, where Ctrl-C ends the wait.
            retry_total=0,
            max_single_get_size=_PIECE_BYTES,
            max_chunk_get_size=_PIECE_BYTES,
            user_agent="triton-serve",
        )


def make_transport() -> RequestsTransport:
    """A way to a store for many threads; every wait ends."""
    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=512))
    # Only here: a client does not tell a transport that it is given, which then reads pieces of 4 KB.
    return RequestsTransport(
        session=session,
        session_owner=False,
        connection_timeout=10,
        read_timeout=60,
        connection_data_block_size=_PIECE_BYTES,
    )


def find_access(account: str) -> Access:
    """A connection string, a key or a token from the variables that Azure's own command reads, then an identity."""
    text = os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "")
    said = dict(pair.partition("=")[::2] for pair in text.strip().strip(";").split(";") if pair)
    if text and not {"AccountName", "BlobEndpoint"} & said.keys():
        raise UsageError(
            "AZURE_STORAGE_CONNECTION_STRING is not a connection string",
            hint="the portal shows it under Access keys: DefaultEndpointsProtocol=https;AccountName=…",
        )
    if said.get("AccountName", account) != account:
        raise UsageError(
            f"AZURE_STORAGE_CONNECTION_STRING is of the account {said['AccountName']}, and the store is in {account}",
            hint="unset it, or set the connection string of that account",
        )
    url = _find_url(account, said)
    key = said.get("AccountKey") or os.environ.get("AZURE_STORAGE_KEY") or os.environ.get("AZURE_STORAGE_ACCOUNT_KEY")
    if key:
        return Access(url, AzureNamedKeyCredential(account, key), (key,))
    token = said.get("SharedAccessSignature") or os.environ.get("AZURE_STORAGE_SAS_TOKEN")
    if token:
        token = token.removeprefix("?")
        return Access(url, AzureSasCredential(token), (token,), token)
    return Access(url, _find_identity())


def _find_url(account: str, said: Mapping[str, str]) -> str:
    url = said.get("BlobEndpoint") or os.environ.get("AZURE_STORAGE_SERVICE_ENDPOINT")
    if url:
        return url
    scheme, suffix = said.get("DefaultEndpointsProtocol", "https"), said.get("EndpointSuffix", "core.windows.net")
    return f"{scheme}://{account}.blob.{suffix}"


def _find_identity() -> Any:
    """Workload identity, a managed identity, az login and the like; None where there is none at all."""
    from azure.identity import DefaultAzureCredential

    # It warns of every place where it finds nothing.
    logging.getLogger("azure.identity").setLevel(logging.ERROR)
    credential = DefaultAzureCredential()
    try:
        credential.get_token(_SCOPE)
    except ClientAuthenticationError:
        # An identity that is named and does not work is not the same as none.
        if os.environ.get("AZURE_CLIENT_ID"):
            raise
        return None
    return credential
