"""Addresses of models that are not on this disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_deploy.errors import UsageError
from serve_deploy.model_sources.addresses import HubAddress, RegistryAddress, RunAddress, StoredAddress, parse_source
from serve_deploy.stores.address import StoreAddress


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://gpt2", HubAddress("gpt2")),
        ("hf://org/model", HubAddress("org/model")),
        ("hf://org/model@v1.0", HubAddress("org/model", "v1.0")),
        ("hf://org/model@refs%2Fpr%2F1/onnx/model.onnx", HubAddress("org/model", "refs/pr/1", "onnx/model.onnx")),
        ("hf://org/model/onnx/my model.onnx", HubAddress("org/model", None, "onnx/my model.onnx")),
        ("hf://org/model/onnx/", HubAddress("org/model", None, "onnx")),
        ("models:/digits/3", RegistryAddress("digits", "3")),
        ("models:/digits@champion", RegistryAddress("digits", "champion", is_alias=True)),
        ("models:/main.ml.digits/latest", RegistryAddress("main.ml.digits", "latest")),
        ("models:/two words/Production", RegistryAddress("two words", "Production")),
        ("runs:/0a1b2c/model/sub", RunAddress("0a1b2c", "model/sub")),
        ("s3://bucket/x/model.onnx", StoredAddress(StoreAddress("s3", "bucket/x"), "model.onnx")),
        ("s3://http://h:9/b/m.ubj", StoredAddress(StoreAddress("s3", "b", endpoint="http://h:9"), "m.ubj")),
    ],
)
def test_addresses_are_read(text: str, expected: object) -> None:
    """As the libraries of the hub and of MLflow write them."""
    assert parse_source(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "hf://gpt2",
        "hf://org/model@refs%2Fpr%2F1/onnx/model.onnx",
        "models:/a@b",
        "models:/a/1",
        "runs:/0a/model",
        "s3://b/x/m.onnx",
    ],
)
def test_an_address_is_written_as_it_was_read(text: str) -> None:
    """So that it can be given again."""
    assert str(parse_source(text)) == text


@pytest.mark.parametrize("text", ["digits.onnx", "/data/hf/model", "C:/models/x.onnx", "models/digits", "hf:x", "a:b"])
def test_a_local_path_is_no_address(text: str) -> None:
    """Also where it has a colon or begins with a word that addresses begin with."""
    assert parse_source(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "hf://", "hf:/org/model", "hf://org/model/../x", "hf://org/model@", "hf://org/model@a@b", "hf://a b/c",
        "models:/digits", "models:/digits/", "models:/digits@", "models:/digits/1/2", "models://digits/1",
        "runs:/0a1b", "runs:/0a1b/../x", "s3://bucket/models", "s3://model.onnx", "as://account/model.onnx",
    ],
)  # fmt: skip
def test_addresses_of_nothing_are_refused(text: str) -> None:
    """With how they are written."""
    with pytest.raises(UsageError, match="is not the address of") as caught:
        parse_source(text)
    assert "write it as" in str(caught.value.hint)


ADDRESSES = st.builds(
    "{}{}".format,
    st.sampled_from(["hf://", "models:/", "runs:/", "s3://", "gs://", "as://", "s3://http://h:1/"]),
    st.lists(st.sampled_from(["a", "b-1", "m.onnx", "@", "/", "..", ".", "%2F", ":", " ", "é", "\n"]), max_size=9).map(
        "".join
    ),
)


@given(ADDRESSES)
def test_any_address_is_read_as_it_is_written_again_or_refused(text: str) -> None:
    """What comes of it says the same thing when it is read once more."""
    try:
        address = parse_source(text)
    except UsageError:
        return
    assert address is not None
    assert parse_source(str(address)) == address
    assert address.model_name
