"""The cluster's API, through one small interface that tests can stand in for."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from serve_deploy.errors import EndpointError, ServeError

Object = Mapping[str, Any]
TIMEOUT_SECONDS = 20.0


class Refusal(EndpointError):
    """Authentication failed, or the user may not do that."""


class LogUnavailable(EndpointError):
    """The node that holds a container's log does not answer."""


class Cluster(Protocol):
    """Read-only sight of a cluster's objects, as JSON."""

    def find(self, path: str, selector: str = "") -> list[Object]:
        """The objects at a path such as /api/v1/namespaces/n/pods; none where the cluster does not know the kind."""

    def read_log(self, namespace: str, pod: str, *, container: str, tail: int, previous: bool = False) -> str:
        """The last lines of a container's log; empty where there is none yet, LogUnavailable where its node is gone."""

    def follow_log(self, namespace: str, pod: str, *, container: str, tail: int) -> Iterator[str]:
        """A container's lines as they come, until it ends."""


def connect(context: str | None = None) -> Cluster:
    """The cluster of KUBECONFIG or ~/.kube/config, or the one this runs in; EndpointError where there is none."""
    from kubernetes import client, config
    from yaml import YAMLError

    configuration = client.Configuration()
    try:
        config.load_kube_config(context=context, client_configuration=configuration)  # type: ignore[no-untyped-call]
    except (YAMLError, TypeError, AttributeError, ValueError) as error:
        # The client reads whatever the file holds as if it were a configuration.
        raise EndpointError(
            f"the cluster's configuration cannot be read: {' '.join(str(error).split())}",
            hint="kubectl config view shows what is wrong with KUBECONFIG or ~/.kube/config",
        ) from error
    except (config.ConfigException, OSError) as error:
        try:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        except config.ConfigException:
            raise EndpointError(
                f"no cluster is configured: {error}",
                hint="point KUBECONFIG at a cluster's configuration, or name a context that exists with `context`",
            ) from error
    return _KubernetesCluster(configuration, client.ApiClient(configuration).rest_client.pool_manager)


@dataclass(frozen=True)
class _KubernetesCluster:
    # The client reads the configuration and holds the connections. The answers are read as they are: its models differ
    # between its versions, drop what they do not know, and take half a second to import.
    _configuration: Any
    _connections: Any

    def find(self, path: str, selector: str = "") -> list[Object]:
        reply = self._get(path, {"labelSelector": selector} if selector else {})
        if reply.status == 404:
            return []
        items: list[Object] = json.loads(_accept(reply, path))["items"]
        return items

    def read_log(self, namespace: str, pod: str, *, container: str, tail: int, previous: bool = False) -> str:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        options = {"container": container, "tailLines": str(tail), "previous": str(previous).lower()}
        try:
            reply = self._get(path, options)
            # 400 says that the container has not begun, or had no predecessor.
            return "" if reply.status in (400, 404) else _accept(reply, path).decode(errors="replace")
        except EndpointError as error:
            # A refusal is about the user; all else comes from the node, whose kubelet the API server asks.
            if isinstance(error, Refusal):
                raise
            raise LogUnavailable(
                f"the log of {pod} cannot be read: {error}", hint=f"is the node of {pod} up? kubectl get nodes tells"
            ) from error

    def follow_log(self, namespace: str, pod: str, *, container: str, tail: int) -> Iterator[str]:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        options = {"container": container, "tailLines": str(tail), "follow": "true"}
        reply = self._get(path, options, stream=True)
        if reply.status >= 400:
            _accept(reply, path)
        rest = b""
        with _explained():
            for chunk in reply.stream(4096, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        if rest:
            yield rest.decode(errors="replace")

    def _get(self, path: str, query: Mapping[str, str], *, stream: bool = False) -> Any:
        settings = self._configuration.auth_settings().values()
        headers = {each["key"]: each["value"] for each in settings if each["in"] == "header" and each["value"]}
        with _explained():
            return self._connections.request(
                "GET",
                self._configuration.host + path,
                fields=dict(query),
                headers=headers | {"Accept": "application/json, */*"},
                preload_content=not stream,
                retries=False,
                timeout=None if stream else TIMEOUT_SECONDS,
            )


def _accept(reply: Any, path: str) -> bytes:
    data: bytes = reply.data
    if reply.status >= 400:
        raise explain_refusal(reply.status, path, data)
    return data


@contextmanager
def _explained() -> Iterator[None]:
    """Turn what the connection raises into EndpointError."""
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (HTTPError, OSError) as error:
        raise EndpointError(
            f"the cluster does not answer: {error}",
            hint="is it running, and is KUBECONFIG (or the current context) the right one?",
        ) from error


def explain_refusal(status: int, path: str, body: bytes) -> ServeError:
    """What an API server's refusal means for the user."""
    message = _message(body)
    if status == 401:
        return Refusal(
            f"authentication failed: {message}", hint="log in again; the token in KUBECONFIG may have expired"
        )
    if status == 403:
        return Refusal(
            f"you may not do that in this cluster: {message}",
            hint="ask for a role with get and list on pods, pods/log, events, deployments and autoscalers here",
        )
    return EndpointError(f"the cluster answered {status} to {path}: {message}")


def _message(body: bytes) -> str:
    text = body.decode(errors="replace").strip()
    try:
        document = json.loads(text)
    except ValueError:
        return text[:300] or "no reason given"
    return str(document.get("message", text)) if isinstance(document, dict) else text
