"""The cluster's API, through one small interface that tests can stand in for."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from serve_deploy.errors import EndpointError, ServeError

Object = Mapping[str, Any]
TIMEOUT_SECONDS = 20.0
# As kubectl asks.
_AT_ONCE = 500


class Refusal(EndpointError):
    """Authentication failed, or the user may not do that."""


class Forbidden(Refusal):
    """The user may not do that; the API says so before it says whether the kind exists."""


class LogUnavailable(EndpointError):
    """The node that holds a container's log does not answer."""


class Cluster(Protocol):
    """Read-only sight of a cluster's objects, as JSON."""

    def find(self, path: str, selector: str = "") -> list[Object]:
        """The objects at a path like /api/v1/namespaces/n/pods; none of an unknown kind, Refusal of a forbidden one."""

    def find_each(self, path: str, selector: str = "", *, at_once: int = _AT_ONCE) -> Iterator[Object]:
        """The same one by one, of which no more than so many are in memory."""

    def read(self, path: str) -> Object | None:
        """The object at a path like /api/v1/namespaces/n; None where there is none, Refusal of a forbidden one."""

    def read_log(self, namespace: str, pod: str, *, container: str, tail: int, previous: bool = False) -> str:
        """The last lines of a container's log; empty where there is none yet, LogUnavailable where its node is gone."""

    def follow_log(self, namespace: str, pod: str, *, container: str, tail: int) -> Iterator[str]:
        """A container's lines as they come, until it ends."""


class ClusterAccess(Cluster, Protocol):
    """A cluster whose objects may be changed, too."""

    def delete(self, path: str, uid: str) -> bool:
        """Delete the object at a path unless it has been replaced by another; False where it is gone."""

    def apply(self, path: str, document: Object, *, manager: str, force: bool = False, dry_run: bool = False) -> Object:
        """What a server-side apply makes of the object at a path; EndpointError where it is refused."""


def connect(context: str | None = None) -> ClusterAccess:
    """The cluster of KUBECONFIG or ~/.kube/config, or the one this runs in; EndpointError where there is none."""
    from kubernetes import client, config, dynamic
    from yaml import YAMLError

    configuration = client.Configuration()
    try:
        # The client looks at the variable only once, when it is imported.
        config.load_kube_config(  # type: ignore[no-untyped-call]
            os.environ.get("KUBECONFIG") or None, context=context, client_configuration=configuration
        )
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
    configuration.retries = False
    # The paths are known: discovery would only ask more and leave a cache in the temporary folder.
    connection = dynamic.DynamicClient(client.ApiClient(configuration), discoverer=lambda *_: None)  # type: ignore[no-untyped-call]
    return _KubernetesCluster(connection)


@dataclass(frozen=True)
class _KubernetesCluster:
    # The answers are read as they are: the client's models differ between its versions, drop what they do not know, and
    # take more than a second to import.
    _connection: Any

    def find(self, path: str, selector: str = "") -> list[Object]:
        return [*self.find_each(path, selector)]

    def find_each(self, path: str, selector: str = "", *, at_once: int = _AT_ONCE) -> Iterator[Object]:
        query = {"limit": str(at_once)} | ({"labelSelector": selector} if selector else {})
        while True:
            page = self._read_page(path, query)
            yield from page["items"]
            if not (token := page.get("metadata", {}).get("continue")):
                return
            query["continue"] = token

    def _read_page(self, path: str, query: Mapping[str, str]) -> Object:
        from kubernetes.dynamic.exceptions import GoneError, NotFoundError

        page: Object = {"items": []}
        with _explained(path):
            try:
                page = json.loads(self._get(path, query).data)
            except NotFoundError:
                if "continue" in query:
                    raise
            except GoneError as error:
                # The server forgot this state of the list; its refusal says where the present one goes on.
                page = {"items": [], "metadata": json.loads(error.body or "{}").get("metadata", {})}
                if page["metadata"].get("continue") in (None, "", query.get("continue")):
                    raise
        return page

    def read(self, path: str) -> Object | None:
        from kubernetes.dynamic.exceptions import NotFoundError

        with _explained(path), suppress(NotFoundError):
            found: Object = json.loads(self._get(path, {}).data)
            return found
        return None

    def read_log(self, namespace: str, pod: str, *, container: str, tail: int, previous: bool = False) -> str:
        from kubernetes.dynamic.exceptions import BadRequestError, NotFoundError

        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        options = {"container": container, "tailLines": str(tail), "previous": str(previous).lower()}
        text = b""
        # A bad request: the container has not begun, or had no predecessor.
        with _blaming_node(pod), _explained(path), suppress(BadRequestError, NotFoundError):
            text = self._get(path, options).data
        return text.decode(errors="replace")

    def follow_log(self, namespace: str, pod: str, *, container: str, tail: int) -> Iterator[str]:
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        options = {"container": container, "tailLines": str(tail), "follow": "true"}
        rest = b""
        with _blaming_node(pod), _explained(path):
            for chunk in self._get(path, options, follow=True).stream(4096, decode_content=True):
                *lines, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in lines)
        if rest:
            yield rest.decode(errors="replace")

    def delete(self, path: str, uid: str) -> bool:
        from kubernetes.client import ApiException

        with _explained(path):
            try:
                self._connection.request("delete", path, body={"preconditions": {"uid": uid}}, serialize=False)
            except ApiException as error:
                if error.status not in (404, 409):
                    raise
                return False
        return True

    def apply(self, path: str, document: Object, *, manager: str, force: bool = False, dry_run: bool = False) -> Object:
        query = [("fieldManager", manager), ("force", str(force).lower())] + [("dryRun", "All")] * dry_run
        with _explained(path):
            answer = self._connection.request(
                "patch",
                path,
                body=json.dumps(document),
                query_params=query,
                content_type="application/apply-patch+yaml",
                serialize=False,
                _request_timeout=(TIMEOUT_SECONDS, TIMEOUT_SECONDS),
            )
            made: Object = json.loads(answer.data)
        return made

    def _get(self, path: str, query: Mapping[str, str], *, follow: bool = False) -> Any:
        return self._connection.request(
            "get",
            path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json, */*"},
            serialize=False,
            _request_timeout=None if follow else (TIMEOUT_SECONDS, TIMEOUT_SECONDS),
        )


@contextmanager
def _blaming_node(pod: str) -> Iterator[None]:
    """A refusal is about the user; all else comes from the node, whose kubelet the API server asks for a log."""
    try:
        yield
    except Refusal:
        raise
    except EndpointError as error:
        raise LogUnavailable(
            f"the log of {pod} cannot be read: {error}", hint=f"is the node of {pod} up? kubectl get nodes tells"
        ) from error


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turn what the client raises into EndpointError."""
    from kubernetes.client import ApiException
    from urllib3.exceptions import HTTPError

    try:
        yield
    except ApiException as error:
        # An untrusted certificate comes as status 0; the second line of its reason says what is wrong.
        body = error.body or str(error.reason).partition("\n")[2]
        raise explain_refusal(error.status, path, body) from error
    except (HTTPError, OSError) as error:
        raise explain_refusal(0, path, str(error)) from error


def explain_refusal(status: int, path: str, body: bytes | str) -> ServeError:
    """What an API server's refusal means for the user; status 0 where there was no answer."""
    message = _message(body)
    if status == 0:
        return EndpointError(
            f"the cluster does not answer: {message}",
            hint="is it running, and is KUBECONFIG (or the current context) the right one?",
        )
    if status == 401:
        return Refusal(
            f"authentication failed: {message}", hint="log in again; the token in KUBECONFIG may have expired"
        )
    if status == 403:
        return Forbidden(
            f"you may not do that in this cluster: {message}",
            hint="ask for a role with get and list on pods, pods/log, events, deployments and autoscalers here",
        )
    return EndpointError(f"the cluster answered {status} to {path}: {message}")


def _message(body: bytes | str) -> str:
    text = (body if isinstance(body, str) else body.decode(errors="replace")).strip()
    try:
        document = json.loads(text)
    except ValueError:
        return text[:300] or "no reason given"
    return str(document.get("message", text)) if isinstance(document, dict) else text
