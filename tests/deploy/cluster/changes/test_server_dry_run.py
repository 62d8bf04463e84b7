"""What a deployment would change, told from what an API server answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from serve_deploy.cluster.changes.server_dry_run import ObjectChange, find_changes, require_accepted, without_left_out
from serve_deploy.errors import EndpointError

Object = dict[str, Any]
PATH = "/apis/apps/v1/namespaces/models/deployments/demo"
CONFLICT = (
    'Apply failed with 1 conflict: conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas'
)


def deployment(**spec: object) -> Object:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "demo"}, "spec": spec}


def live(manager: str = "Apply", **spec: object) -> Object:
    item = deployment(**spec)
    marks = {"meta.helm.sh/release-name": "demo", "meta.helm.sh/release-namespace": "models"}
    fields = [{"manager": "helm", "operation": manager}]
    item["metadata"] |= {"uid": "1", "managedFields": fields, "annotations": marks}
    return item | {"status": {"replicas": 1}}


class Server:
    """An API server that knows Deployments, holds at most one, and answers an apply with what was applied."""

    def __init__(self, there: Object | None = None, refusal: str | None = None) -> None:
        self.there, self.refusal = there, refusal
        self.asked: list[Mapping[str, Any]] = []

    def read(self, path: str) -> Object | None:
        known = {"resources": [{"kind": "Deployment", "name": "deployments", "namespaced": True}]}
        return {PATH: self.there, "/apis/apps/v1": known}.get(path)

    def apply(self, path: str, document: Object, **options: Any) -> Object:
        self.asked.append({"path": path, **options})
        if self.refusal:
            raise EndpointError(self.refusal)
        merged = {"metadata": self.there["metadata"] if self.there else {}, "status": {"replicas": 9}}
        return document | merged | {"spec": (self.there or {}).get("spec", {}) | document["spec"]}


def change(server: Server, new: Object, old: Object | None = None) -> ObjectChange:
    rendered = {"name": "demo", "manifest": yaml.safe_dump(new)}
    (found,) = find_changes(server, "models", rendered, yaml.safe_dump(old) if old else "")  # type: ignore[arg-type]
    return found


def test_nothing_is_changed_by_asking() -> None:
    """Each object is applied as helm would, dry, and conflicts count where helm applies server-side."""
    server = Server(live(replicas=1))
    change(server, deployment(replicas=1))
    assert server.asked == [{"path": PATH, "manager": "helm", "force": False, "dry_run": True}]


@pytest.mark.parametrize(
    ("there", "new", "outcome"),
    [
        (None, deployment(replicas=1), "create"),
        (live(replicas=1), deployment(replicas=1), "none"),
        (live(replicas=1), deployment(replicas=2), "change"),
    ],
)
def test_what_becomes_of_an_object(there: Object | None, new: Object, outcome: str) -> None:
    """It is made, stays or changes; what only the server writes does not count."""
    assert change(Server(there), new).change == outcome


def test_what_changes_is_shown() -> None:
    """As a difference in YAML."""
    shown = change(Server(live(replicas=1)), deployment(replicas=2)).difference.splitlines()
    assert [line for line in shown if line[0] in "+-"] == ["-  replicas: 1", "+  replicas: 2"]


def test_what_helm_3_leaves_out_goes_away() -> None:
    """It compares with its last manifest, which an apply does not know."""
    there = live("Update", replicas=1, paused=True, foreign=1)
    found = change(Server(there), deployment(replicas=1), deployment(replicas=1, paused=True))
    assert [line for line in found.difference.splitlines() if line[0] in "+-"] == ["-  paused: true"]


def test_list_items_are_known_by_name() -> None:
    """A container that is left out goes, one that others have added stays."""
    made = [{"name": "a", "x": 1, "y": 2}, {"name": "b"}, {"name": "foreign"}]
    left = without_left_out(made, [{"name": "a", "x": 1, "y": 2}, {"name": "b"}], [{"name": "a", "x": 1}])
    assert left == [{"name": "a", "x": 1}, {"name": "foreign"}]


def test_what_is_refused_and_what_is_removed() -> None:
    """A conflict is told by who set the field, a kind that is not there by its name; what is left out is removed."""
    assert ".spec.replicas was set by kubectl scale" in change(Server(live(), CONFLICT), deployment()).refusal
    unknown = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "s"}}
    assert change(Server(), unknown).refusal == "the cluster does not know keda.sh/v1alpha1 ScaledObject"
    rendered = {"name": "demo", "manifest": ""}
    gone = find_changes(Server(), "models", rendered, yaml.safe_dump(deployment()))  # type: ignore[arg-type]
    assert gone == (ObjectChange("Deployment", "demo", "remove"),)


def test_refusals_end_in_an_error() -> None:
    """With the exit code of a cluster that refuses."""
    require_accepted((ObjectChange("Service", "a", "none"),))
    with pytest.raises(EndpointError, match="refuses 1 of 2 objects: Service b"):
        require_accepted((ObjectChange("Service", "a", "none"), ObjectChange("Service", "b", "refused")))


def test_a_namespace_that_is_missing_is_made_by_a_deployment() -> None:
    """Everything is refused there, and nothing is wrong with the chart."""
    refusal = 'the cluster answered 404 to /api/v1/namespaces/new/services/a: namespaces "new" not found'
    with pytest.raises(EndpointError) as caught:
        require_accepted((ObjectChange("Service", "a", "refused", refusal=refusal),))
    assert "the namespace is missing" in str(caught.value.hint)
