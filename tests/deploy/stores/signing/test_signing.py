"""Signatures of snapshots: by a key, in the format that `model_signing` writes and verifies too."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from signing_pairs import Pair, make_pair

from serve_deploy.errors import UsageError
from serve_deploy.stores.options import PASSPHRASE_VARIABLE, SigningOptions, TrustOptions
from serve_deploy.stores.signing.keys import fingerprint
from serve_deploy.stores.signing.model_signature import encode_for_signing, write_bundle, write_statement
from serve_deploy.stores.signing.signing import open_signer, sign_snapshot
from serve_deploy.stores.signing.trust import SignatureError, open_trust, verify_any
from serve_deploy.stores.snapshot import Snapshot, SnapshotFile, digest_listing

FILES = {"digits/1/model.onnx": b"weights", "digits/config.pbtxt": b'name: "digits"', "digits/b c.txt": b""}


def make_snapshot(files: dict[str, bytes] | None = None) -> Snapshot:
    """A snapshot of contents by path."""
    listed = {path: sha256(content).hexdigest() for path, content in (files or FILES).items()}
    return Snapshot(
        sha256=digest_listing(listed.items()),
        files=tuple(
            SnapshotFile(path=path, sha256=listed[path], size_bytes=len(content))
            for path, content in sorted((files or FILES).items())
        ),
    )


def sign(snapshot: Snapshot, pair: Pair) -> bytes:
    """The bundle of a snapshot by a key's file."""
    signer = open_signer(SigningOptions(sign_key=pair.private))
    assert signer is not None
    return sign_snapshot(snapshot, signer)


def verify(snapshot: Snapshot, bundle: bytes | None, *public: Path) -> str:
    """Who signed, where one of the keys did."""
    trust = open_trust(TrustOptions(require_signature=public))
    assert trust is not None
    return verify_any(snapshot, [] if bundle is None else [bundle], trust)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A pair of keys without a passphrase."""
    return make_pair(tmp_path_factory.mktemp("keys"), "release")


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """Somebody else's pair."""
    return make_pair(tmp_path_factory.mktemp("keys"), "other")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_a_signed_snapshot_is_accepted_with_the_public_key(tmp_path: Path, curve: ec.EllipticCurve) -> None:
    """On each curve of the format; the name of the key's file says who signed."""
    pair = make_pair(tmp_path, "release", curve)
    assert verify(make_snapshot(), sign(make_snapshot(), pair), pair.public) == "release.pub"


def test_one_of_several_keys_is_enough(pair: Pair, other: Pair) -> None:
    """So that keys can be rotated."""
    assert verify(make_snapshot(), sign(make_snapshot(), pair), other.public, pair.public) == "release.pub"


def write_files(folder: Path) -> Path:
    """The snapshot's files in a folder, as a pull writes them."""
    for path, content in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder


def test_model_signing_verifies_a_folder_against_the_bundle(tmp_path: Path, pair: Pair) -> None:
    """The format's own library finds the files that were signed, and the change of one byte."""
    from model_signing import verifying

    (tmp_path / "models.sigstore.json").write_bytes(sign(make_snapshot(), pair))
    folder = write_files(tmp_path / "models")
    checks = verifying.Config().use_elliptic_key_verifier(public_key=pair.public)
    checks.verify(folder, tmp_path / "models.sigstore.json")
    (folder / "digits/1/model.onnx").write_bytes(b"weightz")
    with pytest.raises(ValueError, match=r"Hash mismatch for 'digits/1/model\.onnx'"):
        checks.verify(folder, tmp_path / "models.sigstore.json")


def test_what_model_signing_signed_is_accepted(tmp_path: Path, pair: Pair) -> None:
    """A folder that the format's own library signed is the snapshot of that folder."""
    from model_signing import signing

    folder = write_files(tmp_path / "models")
    signing.Config().use_elliptic_key_signer(private_key=pair.private).sign(folder, tmp_path / "bundle.json")
    assert verify(make_snapshot(), (tmp_path / "bundle.json").read_bytes(), pair.public) == "release.pub"


def test_a_snapshot_without_signature_is_refused(pair: Pair) -> None:
    """The message names it."""
    snapshot = make_snapshot()
    with pytest.raises(SignatureError, match=f"snapshot {snapshot.id} is not signed"):
        verify(snapshot, None, pair.public)


def test_another_keys_signature_is_refused(pair: Pair, other: Pair) -> None:
    """The message names the keys that would have been accepted."""
    with pytest.raises(SignatureError, match=r"is by another key than release\.pub"):
        verify(make_snapshot(), sign(make_snapshot(), other), pair.public)


def test_another_snapshots_signature_is_refused(pair: Pair) -> None:
    """A valid signature, replayed beside other files."""
    bundle = sign(make_snapshot(FILES | {"digits/1/model.onnx": b"older"}), pair)
    with pytest.raises(SignatureError, match=r"is of another digits/1/model\.onnx, by its sha256"):
        verify(make_snapshot(), bundle, pair.public)


def test_a_signature_of_wholly_other_files_is_refused(pair: Pair) -> None:
    """In one line, without naming them all."""
    bundle = sign(make_snapshot({"other/config.pbtxt": b""}), pair)
    with pytest.raises(SignatureError, match="is of another snapshot"):
        verify(make_snapshot(), bundle, pair.public)


@pytest.mark.parametrize(
    ("signed", "words"),
    [
        ({"digits/1/model.onnx": b"weights"}, r"does not list digits/b c\.txt"),
        (FILES | {"digits/2/model.onnx": b"new"}, r"lists digits/2/model\.onnx, which the snapshot has not"),
    ],
    ids=["too few", "too many"],
)
def test_a_signature_of_more_or_fewer_files_is_refused(pair: Pair, signed: dict[str, bytes], words: str) -> None:
    """A file that was slipped in or taken away is named."""
    with pytest.raises(SignatureError, match=words):
        verify(make_snapshot(), sign(make_snapshot(signed), pair), pair.public)


def test_signed_sizes_that_differ_are_refused(pair: Pair) -> None:
    """The right sha256 with another size: one of the two lists lies."""
    snapshot = make_snapshot()
    lying = snapshot.model_copy(
        update={"files": tuple(file.model_copy(update={"size_bytes": 7777}) for file in snapshot.files)}
    )
    with pytest.raises(SignatureError, match=r"with 7777 bytes, and the snapshot with 7"):
        verify(snapshot, sign(lying, pair), pair.public)


def test_every_truncation_of_a_bundle_is_refused(pair: Pair) -> None:
    """Whatever is cut off: no exception of another kind, nothing accepted; only the last line feed says nothing."""
    bundle = sign(make_snapshot(), pair).rstrip()
    for length in range(0, len(bundle), 7):
        with pytest.raises(SignatureError, match="is damaged or no sigstore bundle"):
            verify(make_snapshot(), bundle[:length], pair.public)


def test_every_changed_character_of_what_is_signed_is_refused(pair: Pair) -> None:
    """Each byte of the payload and of the signature counts."""
    content = json.loads(sign(make_snapshot(), pair))
    envelope = content["dsseEnvelope"]
    for where, name in ((envelope, "payload"), (envelope["signatures"][0], "sig")):
        whole = base64.b64decode(where[name])
        for index in range(0, len(whole), 5):
            changed = whole[:index] + bytes([whole[index] ^ 1]) + whole[index + 1 :]
            where[name] = base64.b64encode(changed).decode()
            with pytest.raises(SignatureError):
                verify(make_snapshot(), json.dumps(content).encode(), pair.public)
        where[name] = base64.b64encode(whole).decode()


def change_type(bundle: dict[str, object]) -> None:
    """Another version of sigstore's bundle."""
    bundle["mediaType"] = "application/vnd.dev.sigstore.bundle+json;version=0.1"


def change_payload_type(bundle: dict[str, object]) -> None:
    """An envelope of something else."""
    bundle["dsseEnvelope"]["payloadType"] = "text/plain"  # type: ignore[index]


def sign_twice(bundle: dict[str, object]) -> None:
    """Two signatures where the format has one."""
    bundle["dsseEnvelope"]["signatures"] *= 2  # type: ignore[index]


@pytest.mark.parametrize("change", [change_type, change_payload_type, sign_twice])
def test_other_bundles_are_refused(pair: Pair, change: Callable[[dict[str, object]], None]) -> None:
    """What the format does not allow is said to be no signed list."""
    content = json.loads(sign(make_snapshot(), pair))
    change(content)
    with pytest.raises(SignatureError, match=r"is a bundle of another version|is not of a signed list"):
        verify(make_snapshot(), json.dumps(content).encode(), pair.public)


def sign_statement(statement: bytes, pair: Pair) -> bytes:
    """A bundle of any statement, truly signed."""
    signature = pair.key.sign(encode_for_signing(statement), ec.ECDSA(SHA256()))
    return write_bundle(statement, signature, fingerprint(pair.key.public_key()))


def test_a_truly_signed_list_that_names_a_file_twice_is_refused(pair: Pair) -> None:
    """Which of the two would be meant is anybody's guess."""
    statement = json.loads(write_statement(make_snapshot()))
    statement["predicate"]["resources"] *= 2
    with pytest.raises(SignatureError, match="lists a file twice"):
        verify(make_snapshot(), sign_statement(json.dumps(statement).encode(), pair), pair.public)


def test_a_truly_signed_statement_of_something_else_is_refused(pair: Pair) -> None:
    """The same key may sign containers: their statements are no lists of files."""
    statement = json.loads(write_statement(make_snapshot())) | {"predicateType": "https://slsa.dev/provenance/v1"}
    with pytest.raises(SignatureError, match="signs something else than a list of files"):
        verify(make_snapshot(), sign_statement(json.dumps(statement).encode(), pair), pair.public)


def test_the_passphrase_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a key that is encrypted."""
    pair = make_pair(tmp_path, "release", passphrase=b"correct horse")
    monkeypatch.setenv(PASSPHRASE_VARIABLE, "correct horse")
    assert verify(make_snapshot(), sign(make_snapshot(), pair), pair.public) == "release.pub"


def test_the_passphrase_is_asked_for_where_the_environment_has_none(tmp_path: Path) -> None:
    """The question is told which key it is for."""
    pair = make_pair(tmp_path, "release", passphrase=b"correct horse")
    asked: list[Path] = []

    def ask(key: Path) -> str:
        asked.append(key)
        return "correct horse"

    assert open_signer(SigningOptions(sign_key=pair.private), ask) is not None
    assert asked == [pair.private]


@pytest.mark.parametrize("given", ["battery staple", ""])
def test_a_wrong_passphrase_is_refused_without_being_repeated(tmp_path: Path, given: str) -> None:
    """It may be the right one of another key."""
    pair = make_pair(tmp_path, "release", passphrase=b"correct horse")
    with pytest.raises(UsageError, match=r"the passphrase of .*release\.pem is wrong") as caught:
        open_signer(SigningOptions(sign_key=pair.private), lambda _key: given)
    assert "staple" not in f"{caught.value.message} {caught.value.hint}"


def test_an_encrypted_key_without_passphrase_says_where_it_is_read(tmp_path: Path) -> None:
    """Where nobody can be asked."""
    pair = make_pair(tmp_path, "release", passphrase=b"correct horse")
    with pytest.raises(UsageError, match=r"release\.pem is encrypted") as caught:
        open_signer(SigningOptions(sign_key=pair.private))
    assert PASSPHRASE_VARIABLE in str(caught.value.hint)


def write_rsa(folder: Path) -> Path:
    """A key of a kind that the format does not know."""
    key = rsa.generate_private_key(65537, 2048)
    path = folder / "rsa.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "absent.pem", r"absent\.pem cannot be read: no such file or directory"),
        (lambda folder: make_pair(folder, "a").public, "is a public key"),
        (write_rsa, "is not an elliptic curve key"),
        (lambda folder: make_pair(folder, "k1", ec.SECP256K1()).private, "on the curve secp256k1"),
        (lambda folder: folder, "cannot be read: is a directory"),
    ],
    ids=["absent", "public", "rsa", "curve", "folder"],
)
def test_files_that_are_no_private_key_are_refused(tmp_path: Path, make: Callable[[Path], Path], words: str) -> None:
    """Before anything is signed."""
    with pytest.raises(UsageError, match=words):
        open_signer(SigningOptions(sign_key=make(tmp_path)))


def test_a_private_key_is_refused_for_verifying(pair: Pair) -> None:
    """Readers must not have it."""
    with pytest.raises(UsageError, match=r"release\.pem is a private key"):
        open_trust(TrustOptions(require_signature=(pair.private,)))


def test_nothing_is_required_by_default() -> None:
    """Neither of a push nor of a pull."""
    assert open_signer(SigningOptions()) is None
    assert open_trust(TrustOptions()) is None


def test_an_identity_needs_its_issuer() -> None:
    """Anybody can have an issuer vouch for any address."""
    with pytest.raises(UsageError, match="belong together"):
        open_trust(TrustOptions(require_identity="release@example.com"))


def test_a_keys_signature_is_not_an_identitys(pair: Pair) -> None:
    """Said before sigstore is asked for anything."""
    trust = open_trust(TrustOptions(require_identity="release@example.com", require_issuer="https://issuer.example"))
    assert trust is not None
    with pytest.raises(SignatureError, match=r"is by a key, not by release@example\.com"):
        verify_any(make_snapshot(), [sign(make_snapshot(), pair)], trust)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(place=st.integers(0, 40), value=JSON)
def test_any_other_value_in_a_bundle_is_refused_in_words_or_changes_nothing(
    pair: Pair, place: int, value: object
) -> None:
    """Whatever stands in the place of one of its values, or of the whole: no exception of another kind."""
    bundle = json.loads(sign(make_snapshot(), pair))
    places = list(list_places(bundle))
    if place < len(places):
        holder, key = places[place]
        holder[key] = value
    else:
        bundle = value
    try:
        assert verify(make_snapshot(), json.dumps(bundle).encode(), pair.public) == "release.pub"
    except SignatureError:
        return
    # What is left is what the key signed: only what the signature does not cover was changed.
    assert base64.b64decode(bundle["dsseEnvelope"]["payload"]) == write_statement(make_snapshot())


def list_places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every value in a document, by what holds it and where."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield value, key
        yield from list_places(inner)
