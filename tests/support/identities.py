"""ServiceAccounts of a test namespace, with a role and a KUBECONFIG of their own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml


def documented_rules() -> Any:
    """The rules of the role in docs/chart.md."""
    page = Path(__file__).parents[2] / "docs" / "chart.md"
    text = page.read_text(encoding="utf-8").partition("```yaml\napiVersion: rbac")[2]
    return yaml.safe_load("apiVersion: rbac" + text.partition("```")[0])["rules"]


def act_as(
    cluster: Any, namespace: str, role: str | None, folder: Path, *, rules: Sequence[dict[str, Any]] | None = None
) -> Path:
    """A KUBECONFIG whose current user has this role in the namespace: a ClusterRole's name, or a Role of `rules`."""
    name = f"user-{role or 'nobody'}"
    _create(cluster.core.create_namespaced_service_account, namespace, {"metadata": {"name": name}})
    if role is None:
        _skip_where_everything_is_allowed(cluster, namespace, name)
    else:
        _bind(cluster, namespace, name, role, rules)
    request = {"spec": {"expirationSeconds": 3600}}
    token = cluster.core.create_namespaced_service_account_token(name, namespace, request).status.token
    config = yaml.safe_load(Path(os.environ["KUBECONFIG"].split(os.pathsep)[0]).read_text())
    context = next(each for each in config["contexts"] if each["name"] == config["current-context"])
    context["context"]["user"] = name
    config["users"] = [{"name": name, "user": {"token": token}}]
    path = folder / f"kubeconfig-{name}"
    path.write_text(yaml.safe_dump(config))
    path.chmod(0o600)
    return path


def _bind(cluster: Any, namespace: str, name: str, role: str, rules: Sequence[dict[str, Any]] | None) -> None:
    from kubernetes import client

    access = client.RbacAuthorizationV1Api()
    if rules is not None:
        _create(access.create_namespaced_role, namespace, {"metadata": {"name": role}, "rules": rules})
    reference = {
        "apiGroup": "rbac.authorization.k8s.io",
        "kind": "ClusterRole" if rules is None else "Role",
        "name": role,
    }
    subject = {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    _create(access.create_namespaced_role_binding, namespace, binding)


def _create(create: Any, namespace: str, body: dict[str, Any]) -> None:
    """Create an object, unless an earlier test of the module has."""
    from kubernetes.client import ApiException

    try:
        create(namespace, body)
    except ApiException as error:
        if error.status != 409:
            raise


def _skip_where_everything_is_allowed(cluster: Any, namespace: str, name: str) -> None:
    review = {
        "spec": {
            "user": f"system:serviceaccount:{namespace}:{name}",
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"],
            "resourceAttributes": {"namespace": namespace, "verb": "list", "group": "apps", "resource": "deployments"},
        }
    }
    if cluster.access.create_subject_access_review(review).status.allowed:
        pytest.skip("this cluster allows everybody everything")
