"""What a deployment would change in a cluster, asked of its API server, which changes nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from serve_deploy.cluster.api import ClusterAccess, Object
from serve_deploy.cluster.changes.helm import read_manifest
from serve_deploy.cluster.changes.helm_errors import explain_conflict
from serve_deploy.errors import EndpointError

_HELM = "helm"
# What the API server and controllers write.
_NOT_ASKED_FOR = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")


@dataclass(frozen=True)
class ObjectChange:
    """What would become of one object: `difference` is a unified diff in YAML, `refusal` the API server's reason."""

    kind: str
    name: str
    change: Literal["create", "change", "none", "remove", "refused"]
    difference: str = ""
    refusal: str = ""


class ObjectPaths:
    """Where the API server keeps the objects of each kind, asked of it once for each version of a group."""

    def __init__(self, cluster: ClusterAccess, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._resources: dict[str, list[Object]] = {}

    def find(self, document: Object) -> str | None:
        """The path of an object; None where the cluster does not know its kind."""
        version = document["apiVersion"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if version not in self._resources:
            self._resources[version] = list((self._cluster.read(root) or {}).get("resources", []))
        for each in self._resources[version]:
            if each["kind"] == document["kind"] and "/" not in each["name"]:
                metadata = document["metadata"]
                within = f"/namespaces/{metadata.get('namespace', self._namespace)}" if each["namespaced"] else ""
                return f"{root}{within}/{each['name']}/{metadata['name']}"
        return None


def find_changes(
    cluster: ClusterAccess, namespace: str, rendered: Mapping[str, Any], before: str, *, force: bool = False
) -> tuple[ObjectChange, ...]:
    """What applying a release as helm rendered it would change, with `before` the manifest of the current revision."""
    paths, marks = ObjectPaths(cluster, namespace), _helm_marks(rendered["name"], namespace)
    old = {_key(each): each for each in read_manifest(before)}
    documents = read_manifest(rendered["manifest"])
    for each in documents:
        each["metadata"]["annotations"] = (each["metadata"].get("annotations") or {}) | marks
    # Hooks belong to nobody, and are made anew each time; a test is made only when it is asked for.
    hooks = [each["manifest"] for each in rendered.get("hooks") or () if "test" not in each["events"]]
    documents += [each for text in hooks for each in read_manifest(text)]
    changes = [_try(cluster, paths.find(each), each, old.get(_key(each)), force=force) for each in documents]
    gone = old.keys() - {_key(each) for each in documents}
    return (*changes, *(ObjectChange(kind, name, "remove") for kind, name in sorted(gone)))


def _helm_marks(release: str, namespace: str) -> dict[str, str]:
    """What helm adds to each object that it applies."""
    return {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}


def _key(document: Object) -> tuple[str, str]:
    return document["kind"], document["metadata"]["name"]


def _try(
    cluster: ClusterAccess, path: str | None, document: Object, old: Object | None, *, force: bool
) -> ObjectChange:
    kind, name = _key(document)
    if path is None:
        return ObjectChange(kind, name, "refused", refusal=f"the cluster does not know {document['apiVersion']} {kind}")
    live = cluster.read(path)
    # Helm 3 updates and overwrites: what it set is not applied, and does not go away by being left out.
    applied = live is None or any(
        entry["manager"] == _HELM and entry["operation"] == "Apply" for entry in live["metadata"]["managedFields"]
    )
    try:
        made = cluster.apply(path, document, manager=_HELM, force=force or not applied, dry_run=True)
    except EndpointError as error:
        conflict = explain_conflict(error.message, f"{kind} {name}")
        return ObjectChange(kind, name, "refused", refusal=conflict.message if conflict else error.message)
    if live is None:
        return ObjectChange(kind, name, "create")
    difference = compare(live, made if applied or old is None else without_left_out(made, old, document))
    return ObjectChange(kind, name, "change" if difference else "none", difference)


def without_left_out(made: Any, old: Any, new: Any) -> Any:
    """What was made, without what the old document sets and the new one leaves out; list items are known by name."""
    if isinstance(made, dict) and isinstance(old, dict) and isinstance(new, dict):
        return {
            key: without_left_out(value, old[key], new[key]) if key in old and key in new else value
            for key, value in made.items()
            if key not in old or key in new
        }
    named = [isinstance(each, list) and all(isinstance(i, dict) and "name" in i for i in each) for each in (old, new)]
    if isinstance(made, list) and all(named):
        olds, news = ({each["name"]: each for each in items} for items in (old, new))
        return [
            without_left_out(each, olds.get(each.get("name")), news.get(each.get("name")))
            for each in made
            if each.get("name") not in olds or each["name"] in news
        ]
    return made


def compare(live: Object, made: Object) -> str:
    """The difference of two objects, as YAML, without what only the API server and controllers write."""
    import yaml

    before, after = (yaml.safe_dump(_asked_for(each), width=120).splitlines() for each in (live, made))
    return "\n".join(list(difflib.unified_diff(before, after, lineterm=""))[2:])


def _asked_for(item: Object) -> dict[str, Any]:
    metadata = {key: value for key, value in item["metadata"].items() if key not in _NOT_ASKED_FOR}
    shown = {key: value for key, value in item.items() if key != "status"} | {"metadata": metadata}
    return shown | dict(_measured(item))


def _measured(item: Object) -> Iterator[tuple[str, Any]]:
    """Models, of which nobody can read more than how large they are."""
    if "binaryData" in item:
        yield "binaryData", {key: f"{len(text)} characters" for key, text in item["binaryData"].items()}


def require_accepted(changes: tuple[ObjectChange, ...]) -> None:
    """Raise EndpointError if the API server refuses some of the objects."""
    refused = [each for each in changes if each.change == "refused"]
    if refused:
        raise EndpointError(
            f"the API server refuses {len(refused)} of {len(changes)} objects:"
            f" {', '.join(f'{each.kind} {each.name}' for each in refused)}",
            hint="the namespace is missing: make it and ask again, or deploy, which makes it; nothing was changed"
            if all(each.refusal.endswith(" not found") and "namespaces" in each.refusal for each in refused)
            else "nothing was changed",
        )
