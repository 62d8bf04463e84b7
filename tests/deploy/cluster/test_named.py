"""What a cluster's releases and workloads name, as helm stores them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from fake_cluster import Pages, running_api, write_kubeconfig
from helm_releases import Answering, stored, values

from serve_deploy.cluster.api import Forbidden, connect
from serve_deploy.cluster.named import Named, find_named
from serve_deploy.errors import EndpointError
from serve_deploy.pruning.options import PruneOptions
from serve_deploy.pruning.prune import prune
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.listing import read_snapshots
from serve_deploy.stores.options import PushOptions, SnapshotsOptions
from serve_deploy.stores.push.push import push_repository

OLD, NEW, OTHER = "0123456789abcdef", "1111222233334444", "aaaabbbbccccdddd"


def ask(routes: Mapping[str, Any], *namespaces: str) -> Named:
    """Ask a cluster that answers so."""
    cluster: Any = Answering(routes)
    return find_named(cluster, namespaces)


def test_every_revision_that_helm_remembers_counts() -> None:
    """By the chart's values, those that were given, and the manifest; kept in Secrets or in ConfigMaps."""
    given = {"config": {"modelRepository": {"revision": NEW}}, "chart": {"values": {}}, "hooks": [{"manifest": "x"}]}
    # A digest of 64 digits is an image's, and not the ID of a snapshot, though it begins like one.
    image = {"manifest": f"image: a@sha256:{4 * OLD}\npath: s3://bucket/snapshots/{OTHER}\n"}
    routes = {
        "/api/v1/secrets": [stored("demo", 1, values(OLD)), stored("demo", 2, given)],
        "/api/v1/configmaps": [stored("other", 7, image, is_secret=False)],
    }
    found = ask(routes)
    assert (found.revisions, found.by) == (3, {
        OLD: "revision 1 of release demo in namespace models",
        NEW: "revision 2 of release demo in namespace models",
        f"sha256:{4 * OLD}": "revision 7 of release other in namespace models",
        OTHER: "revision 7 of release other in namespace models",
    })  # fmt: skip


def test_workloads_without_a_release_count() -> None:
    """What Argo CD or kubectl applied is in no release: a ReplicaSet, to which a rollout could go back, is enough."""
    spec = {
        "template": {"spec": {"containers": [{"args": [f"--model-repository=s3://bucket/models/snapshots/{OLD}"]}]}}
    }
    item = {"metadata": {"name": "demo-triton-1", "namespace": "models"}, "spec": spec}
    found = ask({"/apis/apps/v1/replicasets": [item]})
    assert found.by == {OLD: "replicaset demo-triton-1 in namespace models"}


def test_only_the_namespaces_that_are_named() -> None:
    """Who may not read the whole cluster asks for those with releases."""
    routes = {
        "/api/v1/secrets": Forbidden("you may not do that in this cluster"),
        "/api/v1/namespaces/a/secrets": [stored("demo", 1, values(OLD))],
        # An editor's role does not know this kind.
        "/apis/leaderworkerset.x-k8s.io/v1/namespaces/a/leaderworkersets": Forbidden("you may not do that"),
        "/api/v1/namespaces/b/secrets": [stored("demo", 1, values(NEW))],
    }
    assert set(ask(routes, "a", "b").by) == {OLD, NEW}
    with pytest.raises(EndpointError, match="you may not do that"):
        ask(routes)


@pytest.mark.parametrize("data", [{}, {"release": "?"}, {"release": base64.b64encode(b"\x1f\x8bxx").decode()}])
def test_a_release_that_cannot_be_read_is_not_taken_for_empty(data: dict[str, str]) -> None:
    """It may name anything."""
    item = stored("demo", 3, {}) | {"data": data}
    with pytest.raises(EndpointError, match="revision 3 of release demo in namespace models cannot be read"):
        ask({"/api/v1/secrets": [item]})


@pytest.mark.parametrize("forgets", [False, True])
def test_releases_are_read_page_by_page(forgets: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of thousands no more than a page is in memory; where the server forgets the list, the present one goes on."""
    revisions = Pages([stored("demo", number, values(f"{number:016x}")) for number in range(2_030)], forgets)
    with running_api({"/api/v1/secrets": revisions}) as url:
        monkeypatch.setenv("KUBECONFIG", str(write_kubeconfig(tmp_path, url)))
        found = find_named(connect())
    assert (found.revisions, len(found.by), revisions.largest) == (2_030, 2_030, 50)


@pytest.fixture
def store(tmp_path: Path) -> tuple[StoreAddress, list[str]]:
    """A store of three snapshots, the oldest first."""
    address = StoreAddress("local", str(tmp_path / "store"))
    names = []
    for content in "abc":
        folder = tmp_path / content / "m"
        (folder / "1").mkdir(parents=True)
        (folder / "config.pbtxt").write_text('platform: "onnxruntime_onnx"\n')
        (folder / "1" / "model.onnx").write_text(content)
        names.append(push_repository(PushOptions(repository=folder.parent, store=address)).snapshot)
    return address, names


def kept_ids(address: StoreAddress) -> set[str]:
    """What the store still has."""
    return {each.id for each in read_snapshots(SnapshotsOptions(store=address)).snapshots}


def test_prune_keeps_what_a_release_names(store: tuple[StoreAddress, list[str]]) -> None:
    """An old snapshot stays while helm could roll back to it, and goes when no revision names it any more."""
    address, (a, _b, _c) = store
    options = PruneOptions(repository=address, keep=1)
    result = prune(options, connect_to=Answering({"/api/v1/secrets": [stored("demo", 1, values(a))]}).connect)
    assert (result.snapshots, kept_ids(address) >= {a}) == ((), True)
    assert result.kept == (f"snapshot {a}: revision 1 of release demo in namespace models names it",)
    assert result.releases == "looked at 1 revision of releases in all namespaces of the current context"
    assert [each.id for each in prune(options, connect_to=Answering({}).connect).snapshots] == [a]
    assert a not in kept_ids(address)


def test_prune_asks_every_context(store: tuple[StoreAddress, list[str]]) -> None:
    """One store may serve several clusters: what one of them names stays."""
    address, (a, _b, _c) = store
    clusters: dict[str | None, Any] = {
        "east": Answering({"/api/v1/namespaces/n/secrets": [stored("demo", 1, values(a))]}), "west": Answering({})
    }  # fmt: skip
    options = PruneOptions(repository=address, keep=1, contexts=("west", "east"), namespaces=("n",))
    result = prune(options, connect_to=lambda context: clusters[context])
    assert (result.snapshots, len(result.kept)) == ((), 1)
    assert result.releases == (
        "looked at 0 revisions of releases in n of context west; 1 revision of releases in n of context east"
    )


def test_prune_without_a_cluster_wants_to_be_told(store: tuple[StoreAddress, list[str]]) -> None:
    """It removes nothing; a dry run says what is not known; `ignore_releases` goes by the policy alone."""
    address, names = store

    def refuse(_context: str | None) -> Any:
        raise EndpointError("no cluster is configured")

    with pytest.raises(EndpointError, match="it is not known which snapshots releases name") as caught:
        prune(PruneOptions(repository=address, keep=1), connect_to=refuse)
    assert "`ignore_releases`" in str(caught.value.hint)
    tried = prune(PruneOptions(repository=address, keep=1, dry_run=True), connect_to=refuse)
    assert [each.id for each in tried.snapshots] == names[:1]
    assert "could not be looked at, and may name some of these" in tried.releases
    assert kept_ids(address) == set(names)
    done = prune(PruneOptions(repository=address, keep=1, ignore_releases=True), connect_to=refuse)
    assert [each.id for each in done.snapshots] == names[:1]
    assert done.releases == "releases were not looked at: what they name goes by the policy alone"
