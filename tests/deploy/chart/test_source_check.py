"""A chart names what its source holds: a snapshot with the repository's own files, or nothing is written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import botocore.session
import pytest
from docker_registry import DockerRegistry, running_docker_registry
from repositories import add_ensemble, add_model
from signing_pairs import Pair, make_pair
from store_servers import aws_environment, make_s3_bucket, running_seaweed

from serve_deploy.chart.options import ChartOptions
from serve_deploy.chart.source_check import CheckedSource, check_source
from serve_deploy.chart.write import write_chart
from serve_deploy.errors import EndpointError, UsageError, VerificationError
from serve_deploy.overrides import nest_value
from serve_deploy.stores.address import parse_address
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.listing import name_snapshot
from serve_deploy.stores.manifests.manifests import make_snapshot, stored_path
from serve_deploy.stores.oci import read_image
from serve_deploy.stores.options import PushOptions, SigningOptions, TrustOptions
from serve_deploy.stores.push.push import push_repository
from serve_deploy.stores.signing.trust import SignatureError
from serve_deploy.stores.transfer.contents import read_contents


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real S3 with a bucket."""
    with running_seaweed(tmp_path_factory.mktemp("s3") / "server") as url, aws_environment():
        make_s3_bucket(url, "models")
        yield url


@pytest.fixture
def store(server: str) -> str:
    """The address of an empty store."""
    return f"s3://{server}/models/{uuid4().hex}"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A model, and an ensemble with an empty version folder."""
    add_model(tmp_path / "models")
    add_ensemble(tmp_path / "models", "above", "digits")
    return tmp_path / "models"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A key to sign with."""
    return make_pair(tmp_path_factory.mktemp("keys"), "release")


def push(repository: Path, store: str, *, fixed: bool = False, sign_key: Path | None = None) -> str:
    """Push a repository; its snapshot."""
    signing = SigningOptions(sign_key=sign_key)
    options = PushOptions(repository=repository, store=parse_address(store), fixed=fixed, signing=signing)
    return push_repository(options).snapshot


def check(repository: Path, source: str, **options: Any) -> CheckedSource:
    """What a chart would name."""
    return check_source(repository, ChartOptions(source=source, **options))


def change(repository: Path) -> None:
    """Write something else into a model's configuration."""
    with (repository / "digits" / "config.pbtxt").open("a") as config:
        config.write("# another\n")


def test_a_chart_names_the_current_snapshot(models: Path, store: str, tmp_path: Path) -> None:
    """The store as it is, and the ID for the revision; the chart that is written reads its path."""
    identity = push(models, store)
    written = write_chart(models, ChartOptions(source=store, directory=tmp_path / "chart", dry_run=True))
    assert written.values is not None
    repository = written.values["modelRepository"]
    assert (repository["uri"], repository["layout"], repository["revision"]) == (store, "snapshots", identity)
    assert written.values["networkPolicy"]["sourcePorts"] == [443, int(store.split(":")[3].partition("/")[0])]
    assert [note for note in written.notes if "must be allowed to read" in note and "amazonaws" not in note]
    assert [note for note in written.notes if note.startswith("inside a pod, 127.0.0.1 is the pod itself")]


def test_another_snapshot_is_named_by_its_id(models: Path, store: str, tmp_path: Path) -> None:
    """By how it begins; the current one, which has other files, is refused with what to do."""
    old = push(models, store)
    shutil.copytree(models, tmp_path / "old")
    change(models)
    push(models, store)
    assert check(tmp_path / "old", f"{store}@{old[:6]}").values["revision"] == old
    with pytest.raises(VerificationError, match=r"config\.pbtxt differs") as caught:
        check(tmp_path / "old", store)
    assert f"`source={store}@{old}`" in str(caught.value.hint)
    assert f"serve snapshots {store} --use {old}" in str(caught.value.hint)
    name_snapshot(open_store(parse_address(store)), old)
    assert check(tmp_path / "old", store).values["revision"] == old


def test_what_was_not_pushed_is_refused(models: Path, store: str) -> None:
    """A changed file, a missing and a surplus one, each named; and how to push."""
    push(models, store)
    change(models)
    (models / "digits" / "new.txt").touch()
    (models / "digits" / "manifest.json").unlink()
    with pytest.raises(VerificationError) as caught:
        check(models, store)
    problems = ("new.txt is missing", "config.pbtxt differs", "manifest.json is not in the repository")
    assert [each for each in problems if each not in str(caught.value)] == []
    assert f"serve push {models} {store}" in str(caught.value.hint)
    with pytest.raises(UsageError, match="has no complete snapshot 0123456789abcdef"):
        check(models, f"{store}@0123456789abcdef")


def test_a_snapshot_that_lost_a_file_is_refused(models: Path, store: str) -> None:
    """Its manifest lists it still, but a replica would not find it; pushed again, it is whole."""
    identity = push(models, store)
    opened = open_store(parse_address(store))
    opened.delete([stored_path(identity, "digits/1/model.onnx")])
    with pytest.raises(VerificationError, match=r"is damaged: digits/1/model\.onnx: it is missing"):
        check(models, store)
    push(models, store)
    assert check(models, store).values["revision"] == identity


def test_models_that_only_the_store_has_are_noted(models: Path, store: str) -> None:
    """They are not loaded, and so do no harm."""
    add_model(models, "more")
    identity = push(models, store)
    shutil.rmtree(models / "more")
    checked = check(models, store)
    assert checked.values["revision"] == identity
    assert checked.notes[0].endswith("also has more, which this chart does not load")


def test_a_fixed_layout_is_compared_and_read_as_before(models: Path, store: str) -> None:
    """The address itself is the repository; an older version there is no difference."""
    first = push(models, store, fixed=True)
    assert check(models, store).values == {"source": "s3", "uri": store, "revision": first}
    shutil.move(models / "digits" / "1", models / "digits" / "2")
    with pytest.raises(VerificationError, match=r"digits/2/model\.onnx is missing") as caught:
        check(models, store)
    assert "--fixed" in str(caught.value.hint)
    push(models, store, fixed=True)
    assert check(models, store).values["revision"] != first


def test_models_that_were_copied_by_hand_are_compared_by_size(models: Path, store: str, server: str) -> None:
    """Without a manifest no more is known, and the note says so."""
    client = botocore.session.Session().create_client("s3", endpoint_url=server, region_name="us-east-1")
    prefix = store.rpartition("/")[2]
    with pytest.raises(UsageError, match="has no models yet"):
        check(models, store)
    for path in models.rglob("*"):
        if path.is_file() and path.suffix != ".json":
            client.put_object(Bucket="models", Key=f"{prefix}/{path.relative_to(models)}", Body=path.read_bytes())
    checked = check(models, store)
    assert "layout" not in checked.values
    assert checked.notes == (f"{store} was not filled by serve push: its files were compared by size alone",)
    change(models)
    with pytest.raises(VerificationError, match=r"config\.pbtxt differs"):
        check(models, store)


@pytest.mark.parametrize("fixed", [False, True], ids=["snapshots", "fixed"])
def test_a_source_has_to_be_signed_where_that_is_required(models: Path, store: str, pair: Pair, fixed: bool) -> None:
    """An unsigned one is refused, and who signed is noted."""
    trust = TrustOptions(require_signature=(pair.public,))
    push(models, store, fixed=fixed)
    with pytest.raises(SignatureError, match="is not signed"):
        check(models, store, trust=trust)
    identity = push(models, store, fixed=fixed, sign_key=pair.private)
    checked = check(models, store, trust=trust)
    assert checked.values["revision"] == identity
    assert checked.notes == ("the source is signed by release.pub",)


def test_models_that_were_copied_by_hand_are_not_signed(models: Path, server: str, store: str, pair: Pair) -> None:
    """Sizes that fit are no signature."""
    client = botocore.session.Session().create_client("s3", endpoint_url=server, region_name="us-east-1")
    client.put_object(Bucket="models", Key=f"{store.rpartition('/')[2]}/digits/config.pbtxt", Body=b"")
    with pytest.raises(SignatureError, match="is not signed"):
        check(models, store, trust=TrustOptions(require_signature=(pair.public,)))


@pytest.mark.parametrize(
    ("source", "options"),
    [
        (None, {}),
        ("pvc://claim/models", {}),
        ("s3://bucket/models", {"check_source": False}),
        ("oci://r/i:v#models", {}),
    ],
)
def test_a_signature_that_nobody_would_look_at_is_not_required_in_vain(
    models: Path, pair: Pair, source: str | None, options: dict[str, Any]
) -> None:
    """A chart that is written all the same would be taken for a checked one."""
    trust = TrustOptions(require_signature=(pair.public,))
    with pytest.raises(UsageError, match="`require_signature`"):
        check_source(models, ChartOptions(source=source, trust=trust, **options))


def test_what_cannot_be_reached_is_said(models: Path, server: str) -> None:
    """A bucket that is not there: an error, or by the option an unchecked chart."""
    source = f"s3://{server}/none/models"
    with pytest.raises(EndpointError) as caught:
        check(models, source)
    assert "`check_source=False`" in str(caught.value.hint)
    unseen = check(models, source, check_source=False)
    assert unseen.values == {"source": "s3", "uri": source}
    assert f"`source={source}@ID`" in unseen.notes[0]


@pytest.mark.parametrize("source", ["gs://bucket/models", "pvc://claim/models"])
def test_a_snapshot_of_a_store_that_is_not_looked_into(models: Path, source: str) -> None:
    """It can only be the repository's own; that the store has it is not known, and said."""
    own = make_snapshot([each.file for each in read_contents(models)]).id
    named = check(models, f"{source}@{own[:5]}", check_source=False)
    assert (named.values["layout"], named.values["revision"]) == ("snapshots", own)
    assert "was not looked into" in named.notes[0]
    layout = nest_value("modelRepository.layout", "snapshots")
    assert check(models, source, check_source=False, overrides=layout).values["revision"] == own
    with pytest.raises(VerificationError, match="names another snapshot"):
        check(models, f"{source}@0000", check_source=False)


def test_a_claim_needs_no_option(models: Path) -> None:
    """No store can be opened behind it from here."""
    assert check(models, "pvc://claim/models").values == {
        "source": "pvc", "pvc": {"existingClaim": "claim", "path": "models"}
    }  # fmt: skip


def put_foreign_image(registry: DockerRegistry, repository: str, tag: str) -> None:
    """An image that docker might have built."""
    config = b'{"rootfs": {"type": "layers", "diff_ids": []}}'
    kinds = "application/vnd.oci.image"
    described = {
        "mediaType": f"{kinds}.config.v1+json", "digest": registry.put_blob(repository, config), "size": len(config)
    }  # fmt: skip
    manifest = {"mediaType": f"{kinds}.manifest.v1+json", "schemaVersion": 2, "layers": [], "config": described}
    registry.put_manifest(repository, tag, manifest)


def test_an_image_is_named_by_its_digest(models: Path, tmp_path: Path, pair: Pair) -> None:
    """And mounted, for it has no program that could copy; one that is not there, or has other files, is refused."""
    with running_docker_registry(tmp_path / "registry") as registry:
        source = f"oci://{registry.host}/team/models:v1"
        with pytest.raises(UsageError, match="there is no image") as caught:
            check(models, source)
        assert "serve push" in str(caught.value.hint)
        push(models, source)
        with pytest.raises(SignatureError, match="is not signed"):
            check(models, source, trust=TrustOptions(require_signature=(pair.public,)))
        identity = push(models, source, sign_key=pair.private)
        checked = check(models, source, trust=TrustOptions(require_signature=(pair.public,)))
        assert "the source is signed by release.pub" in checked.notes
        image = read_image(parse_address(source))
        assert image is not None
        assert checked.values["oci"] == {"reference": image.pinned, "method": "volume"}
        assert checked.values["revision"] == identity
        assert f"@{image.digest}" in image.pinned
        change(models)
        with pytest.raises(VerificationError, match="differs"):
            check(models, source)
        put_foreign_image(registry, "team/models", "other")
        with pytest.raises(VerificationError, match="was not pushed by serve") as caught:
            check(models, source.replace(":v1", ":other"))
        assert "other#models`" in str(caught.value.hint)
        assert check(models, source.replace(":v1", ":other#models")).values["oci"]["path"] == "models"
