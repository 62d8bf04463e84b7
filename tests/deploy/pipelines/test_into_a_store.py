"""A pipeline that is written into a store; no Triton is started."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import onnx
import pytest
from onnx_models import doubling_model

import serve_deploy as serve
from serve_deploy.errors import DestinationError
from serve_deploy.pipelines.result import WrittenPipeline
from serve_deploy.stores.pull.readers import read_current

_CHAIN = """
    name: {name}
    steps:
      first: {{model: {first}}}
      second: {{model: double.onnx, inputs: {{x: first.y}}}}
"""


@pytest.fixture
def store(tmp_path: Path) -> serve.StoreAddress:
    """A local store that holds the model `stored`."""
    onnx.save(doubling_model(), tmp_path / "double.onnx")
    address = serve.StoreAddress("local", str(tmp_path / "store"))
    serve.package(
        [tmp_path / "double.onnx"],
        serve.PackageOptions(repository=address, name="stored", verify=False, max_batch_size=4),
    )
    return address


def _write(store: serve.StoreAddress, folder: Path, name: str = "chain", **options: object) -> WrittenPipeline:
    file = folder / "pipeline.yaml"
    file.write_text(dedent(_CHAIN).format(name=name, first="stored"))
    return serve.pipeline(serve.PipelineOptions(file=file, repository=store, verify=False, **options))


def _models_of(store: serve.StoreAddress) -> tuple[str, ...]:
    current = read_current(store)
    return current.models if current else ()


def test_it_joins_models_of_the_store_and_pushes_what_is_new(store: serve.StoreAddress, tmp_path: Path) -> None:
    """The ensemble and its new member, in one snapshot with all that was there."""
    written = _write(store, tmp_path)
    assert written.pushed is not None
    assert written.folder == f"{store}/snapshots/{written.pushed.snapshot}/chain"
    assert _models_of(store) == ("chain", "chain_second", "stored")


def test_what_is_written_names_the_store_and_no_folder_of_this_machine(
    store: serve.StoreAddress, tmp_path: Path
) -> None:
    """The same pipeline is the same snapshot wherever it is written."""
    written = _write(store, tmp_path)
    text = (Path(str(written.folder)) / "config.pbtxt").read_text()
    assert f"first: {store}/stored" in text
    assert "serve-temporary" not in text + written.manifest.model_dump_json()


def test_what_is_refused_or_tried_leaves_the_store_as_it_was(store: serve.StoreAddress, tmp_path: Path) -> None:
    """A name that is taken, and a dry run."""
    with pytest.raises(DestinationError, match=f"{store}/stored already exists"):
        _write(store, tmp_path, name="stored")
    assert _write(store, tmp_path, dry_run=True).pushed is None
    assert _models_of(store) == ("stored",)
