"""`serve package` as a user sees it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_models import build_model, doubling_model

from serve_cli.app import main
from serve_cli.package_report import print_summary
from serve_deploy.errors import Interrupted
from serve_deploy.manifest import Verification
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import PackageSummary, package, package_model

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits" / "digits.onnx"
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """Run the command in this process: exit code, stdout, stderr."""
    previous = signal.getsignal(signal.SIGTERM)
    for name in ("stdout", "stderr"):  # the shell puts streams of its own in their place
        monkeypatch.setattr(sys, name, getattr(sys, name))

    def run_command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["serve", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err

    yield run_command
    signal.signal(signal.SIGTERM, previous)


def read_tree(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
    }


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "m.onnx"
    onnx.save(doubling_model(("N", 3)), path)
    return path


def save_external(path: Path, location: str) -> None:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    node = helper.make_node("Add", ["x", "w"], ["y"])
    tensors = [("x", TensorProto.FLOAT, ("N", 3))], [("y", TensorProto.FLOAT, ("N", 3))]
    path.write_bytes(build_model([node], *tensors, initializers=[tensor]).SerializeToString())


def no_file(folder: Path) -> list[object]:
    return [folder / "nothing.onnx"]


def a_folder(folder: Path) -> list[object]:
    (folder / "net.onnx").mkdir()
    return [folder / "net.onnx"]


def an_empty_file(folder: Path) -> list[object]:
    (folder / "net.onnx").touch()
    return [folder / "net.onnx"]


def a_truncated_file(folder: Path) -> list[object]:
    (folder / "net.onnx").write_bytes(EXAMPLE.read_bytes()[:1000])
    return [folder / "net.onnx"]


def random_bytes(folder: Path) -> list[object]:
    (folder / "net.onnx").write_bytes(np.random.default_rng(0).bytes(5000))
    return [folder / "net.onnx"]


def an_unknown_operator(folder: Path) -> list[object]:
    node = helper.make_node("NoSuchOperator", ["x"], ["y"])
    tensors = [("x", TensorProto.FLOAT, ("N", 3))], [("y", TensorProto.FLOAT, ("N", 3))]
    onnx.save(build_model([node], *tensors), folder / "net.onnx")
    return [folder / "net.onnx"]


def missing_external_data(folder: Path) -> list[object]:
    save_external(folder / "net.onnx", "weights.bin")
    return [folder / "net.onnx"]


def short_external_data_of_no_said_length(folder: Path) -> list[object]:
    save_external(folder / "net.onnx", "weights.bin")
    (folder / "weights.bin").write_bytes(b"abc")
    return [folder / "net.onnx"]


def external_data_outside(folder: Path) -> list[object]:
    save_external(folder / "net.onnx", "../../etc/passwd")
    return [folder / "net.onnx"]


def a_sequence_output(folder: Path) -> list[object]:
    node = helper.make_node("SplitToSequence", ["x"], ["y"])
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_sequence_value_info("y", TensorProto.FLOAT, None)],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "net.onnx")
    return [folder / "net.onnx"]


def a_bad_name(_folder: Path) -> list[object]:
    return [EXAMPLE, "--name", "a/b"]


def a_version_with_leading_zero(_folder: Path) -> list[object]:
    return [EXAMPLE, "--version", "01"]


def an_unknown_release(_folder: Path) -> list[object]:
    return [EXAMPLE, "--triton", "99.99"]


def a_batch_that_cannot_be(folder: Path) -> list[object]:
    onnx.save(doubling_model((1, 3)), folder / "net.onnx")
    return [folder / "net.onnx", "--max-batch-size", "8"]


def a_place_that_takes_no_folder(_folder: Path) -> list[object]:
    return [EXAMPLE, "-o", "/proc/models"]


def a_file_as_the_destination(folder: Path) -> list[object]:
    (folder / "taken").touch()
    return [EXAMPLE, "-o", folder / "taken" / "models"]


def a_destination_that_is_no_store(_folder: Path) -> list[object]:
    return [EXAMPLE, "-o", "ftp://host/models"]


def no_such_runtime(_folder: Path) -> list[object]:
    return [EXAMPLE, "--runtime", "installed"]


def cpu_and_gpu(_folder: Path) -> list[object]:
    return [EXAMPLE, "--cpu", "--gpu", "all"]


def an_unknown_accelerator(_folder: Path) -> list[object]:
    return [EXAMPLE, "--optimize", "magic"]


def samples_of_another_model(folder: Path) -> list[object]:
    np.savez(folder / "samples.npz", other=np.zeros((1, 3), np.float32))
    return [EXAMPLE, "--samples", folder / "samples.npz"]


@pytest.mark.parametrize(
    ("bad_input", "code", "words"),
    [
        (no_file, 3, "does not exist"),
        (a_folder, 3, "is a folder"),
        (an_empty_file, 3, "is empty"),
        (a_truncated_file, 3, "truncated"),
        (random_bytes, 3, "not an ONNX model"),
        (an_unknown_operator, 3, "NoSuchOperator"),
        (missing_external_data, 3, "'weights.bin' is missing"),
        (short_external_data_of_no_said_length, 3, "External initializer: w offset: 0 size to read: 12"),
        (external_data_outside, 3, "outside the model's folder"),
        (a_sequence_output, 3, "output 'y'"),
        (a_bad_name, 2, "model name 'a/b'"),
        (a_version_with_leading_zero, 2, "--version 01"),
        (an_unknown_release, 2, "99.99"),
        (a_batch_that_cannot_be, 2, "cannot batch"),
        (a_place_that_takes_no_folder, 4, "cannot write to /proc/models"),
        (a_file_as_the_destination, 4, "taken is a file, not a folder"),
        (a_destination_that_is_no_store, 2, "no store is read from ftp://"),
        (no_such_runtime, 5, "installed runtime is not available"),
        (cpu_and_gpu, 2, "exclude each other"),
        (an_unknown_accelerator, 2, "magic is not an accelerator"),
        (samples_of_another_model, 2, "no array for input 'image'"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_bad_input_is_one_line_with_its_exit_code_and_leaves_nothing(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad_input: Callable[[Path], list[object]], code: int,
    words: str,
) -> None:  # fmt: skip
    """What happened, to which file or field, what to do; and the folder is as it was."""
    monkeypatch.chdir(tmp_path)
    arguments = bad_input(tmp_path)
    before = read_tree(tmp_path)
    exit_code, out, err = run("package", *arguments)
    lines = err.strip().splitlines()
    assert exit_code == code, err
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert [line for line in lines if not line.startswith(("error: ", "hint: "))] == []
    assert out == ""
    assert read_tree(tmp_path) == before


def test_an_existing_version_is_a_conflict_and_stays_as_it_is(run: Command, tmp_path: Path, model: Path) -> None:
    """Exit code 4, with both ways out in the hint."""
    assert run("package", model, "-o", tmp_path / "models", "--no-verify")[0] == 0
    before = read_tree(tmp_path / "models")
    code, _out, err = run("package", model, "-o", tmp_path / "models", "--no-verify")
    assert (code, read_tree(tmp_path / "models")) == (4, before)
    assert "next adds a version beside it" in err
    assert "replaces it" in err


def test_versions_are_added_and_replaced_on_request(run: Command, tmp_path: Path, model: Path) -> None:
    """`next`, a number, and --force."""
    for version, written in (("next", ["1"]), ("next", ["1", "2"]), ("7", ["1", "2", "7"])):
        code, _out, err = run("package", model, "-o", tmp_path / "models", "--no-verify", "--version", version)
        assert code == 0, err
        assert sorted(path.name for path in (tmp_path / "models" / "m").iterdir() if path.name.isdigit()) == written
    assert run("package", model, "-o", tmp_path / "models", "--no-verify", "--version", "2", "--force")[0] == 0


def test_a_version_with_other_tensors_is_refused(run: Command, tmp_path: Path, model: Path) -> None:
    """Because all versions of a model share one configuration."""
    assert run("package", model, "-o", tmp_path / "models", "--no-verify")[0] == 0
    onnx.save(doubling_model(("N", 4)), model)
    code, _out, err = run("package", model, "-o", tmp_path / "models", "--no-verify", "--version", "next")
    assert code == 4
    assert "has other inputs than version 1" in err


def test_dry_run_prints_the_configuration_and_writes_nothing(run: Command, tmp_path: Path, model: Path) -> None:
    """On stdout, so that it can be redirected."""
    code, out, _err = run("package", model, "-o", tmp_path / "models", "--dry-run")
    assert code == 0
    assert out.startswith('name: "m"')
    assert "max_batch_size: 8" in out
    assert not (tmp_path / "models").exists()


def test_json_is_the_result_object(run: Command, tmp_path: Path, model: Path) -> None:
    """Packaged and failed models, each with what a script needs."""
    code, out, _err = run(
        "package", model, tmp_path / "nothing.onnx", "-o", tmp_path / "models", "--no-verify", "--json"
    )
    result = json.loads(out)
    assert code == 3
    assert [(item["name"], item["version"]) for item in result["packaged"]] == [("m", 1)]
    assert result["packaged"][0]["manifest"]["batching"]["max_batch_size"] == 8
    assert [(Path(item["source"]).name, item["exit_code"]) for item in result["failed"]] == [("nothing.onnx", 3)]


def test_one_that_fails_does_not_keep_the_others_back(run: Command, tmp_path: Path, model: Path) -> None:
    """A summary at the end, and the exit code of the failure."""
    code, out, err = run("package", tmp_path / "nothing.onnx", model, "-o", tmp_path / "models", "--no-verify")
    assert code == 3
    assert (tmp_path / "models" / "m" / "config.pbtxt").exists()
    assert [line.split()[0] for line in out.splitlines()[-2:]] == ["m", "nothing.onnx"]
    assert "does not exist" in err


def test_the_failures_of_several_models_name_them(run: Command, tmp_path: Path, model: Path) -> None:
    """Also where the error by itself is about the release alone."""
    other = tmp_path / "other.onnx"
    other.write_bytes(model.read_bytes())
    options = ("--max-batch-size", 4, "--version-policy", "specific:2", "--no-verify", "-o", tmp_path / "models")
    code, _, err = run("package", model, other, *options)
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert [line.split()[1] for line in errors] == ["m.onnx:", "other.onnx:"]


def test_two_models_of_one_name_are_refused_before_anything_is_written(run: Command, tmp_path: Path) -> None:
    """Many exporters call every file model.onnx."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        onnx.save(doubling_model(), tmp_path / name / "model.onnx")
    files = [tmp_path / name / "model.onnx" for name in ("a", "b")]
    code, _out, err = run("package", *files, "-o", tmp_path / "models", "--no-verify")
    assert code == 2
    assert "would both be the model 'model'" in err
    assert not (tmp_path / "models").exists()


def test_a_given_batch_size_without_verification_is_believed_and_said_so(
    run: Command, tmp_path: Path, model: Path
) -> None:
    """No session is made, so nothing is proven."""
    code, out, err = run("package", model, "-o", tmp_path / "models", "--no-verify", "--max-batch-size", "4")
    assert code == 0, err
    assert "nothing is proven" in out
    assert "max_batch_size: 4" in (tmp_path / "models" / "m" / "config.pbtxt").read_text()


ALL_OPTIONS = (
    "--max-batch-size", 16, "--gpu", "0,1", "--instances", 2, "--threads", 4, "--parallel-threads", 2,
    "--optimize", "tensorrt:fp16,trt_engine_cache_enable=1", "--response-cache", "--version-policy", "latest:2",
    "--max-queue-delay", 100, "--preferred-batch-size", "8,16", "--queue-timeout", 5000, "--timeout-action", "delay",
    "--timeout-override", "--max-queue-size", 64, "--priority-levels", 3, "--default-priority", 2,
)  # fmt: skip


def test_every_option_is_in_the_configuration(run: Command, model: Path, golden: Callable[[str, str], None]) -> None:
    """Each with its reason; a golden file."""
    code, out, err = run("package", model, "--dry-run", *ALL_OPTIONS)
    assert code == 0, err
    golden("package/all_options.pbtxt", out)


def test_a_gpus_configuration_has_a_reason_for_each_number(
    run: Command, model: Path, golden: Callable[[str, str], None]
) -> None:
    """What is assumed and what is estimated says so; a golden file."""
    code, out, err = run(
        "package", model, "--dry-run", "--for", "h100-nvl", "--no-warmup", "--engine-cache", "/engines"
    )
    assert code == 0, err
    golden("package/h100_nvl.pbtxt", out)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--for", "l5"], "--for l5 is not a GPU that serve knows"),
        (["--for", "l4", "--triton", "24.04"], "does not have --model-config-name"),
        (["--preserve-ordering", "--priority-levels", "2"], "preserve_ordering does not work"),
        (["--preferred-batch-size", "9"], "9 is not between 1 and max_batch_size (8)"),
        (["--priority-levels", "2", "--default-priority", "3"], "3 is not between 1 and 2"),
        (["--default-priority", "2"], "has no priority levels"),
        (["--cpu", "--optimize", "tensorrt:fp16"], "runs only on GPUs"),
        (["--timeout-action", "delay"], "need a --queue-timeout"),
        (["--gpu", "first"], "not a list of numbers"),
        (["--version-policy", "specific:2"], "would never serve version 1"),
        (["--labels", "labels.txt"], "labels.txt cannot be read: No such file or directory\n"),
    ],
)
def test_what_triton_would_refuse_is_refused_with_the_reason(
    run: Command, model: Path, options: list[str], words: str
) -> None:
    """Exit code 2, before anything is written."""
    code, out, err = run("package", model, "--dry-run", *options)
    assert (code, out) == (2, "")
    assert words in err


def test_a_random_model_is_not_called_verified(tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing of its answers could be compared, and the words say so."""
    options = PackageOptions(repository=tmp_path / "models", max_batch_size=0, verify=False)
    packaged = package_model(model, options)
    served = Verification(
        runtime="embedded", triton_version="2.51.0", requests=20, largest_batch_executed=1, tensors=(),
        load_seconds=0.4, memory_bytes=2**20, random_outputs=("y",),
    )  # fmt: skip
    shown = replace(packaged, manifest=packaged.manifest.model_copy(update={"verification": served}))
    print_summary(PackageSummary(packaged=(shown,), failed=()))
    shown_lines = capsys.readouterr().out.splitlines()
    assert "not comparable: 20 responses from Triton 2.51.0 (embedded), in batches of up to 1" in shown_lines
    assert shown_lines[-1] == "output 'y' is random: its values were not compared"


def test_labels_are_given_by_a_file(run: Command, tmp_path: Path, model: Path) -> None:
    """For the output that has as many classes, or for the one that is named."""
    (tmp_path / "names.txt").write_text("cat\ndog\nbird\n")
    arguments = ["package", model, "-o", tmp_path / "models", "--no-verify", "--force", "--labels"]
    for labels in (tmp_path / "names.txt", f"y={tmp_path / 'names.txt'}"):
        code, _out, err = run(*arguments, labels)
        assert code == 0, err
        assert (tmp_path / "models" / "m" / "labels.txt").read_text() == "cat\ndog\nbird\n"
    (tmp_path / "names.txt").write_text("cat\n")
    assert "1 labels, but output 'y' has 3 classes" in run(*arguments, tmp_path / "names.txt")[2]


def zipmap_model() -> onnx.ModelProto:
    """A classifier as skl2onnx exports it: labels, and a map of scores for each row."""
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", classlabels_ints=[0, 1],
            coefficients=[1.0, -1.0, -1.0, 1.0], intercepts=[0.0, 0.1], post_transform="SOFTMAX",
        ),
        helper.make_node("ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1]),
    ]  # fmt: skip
    scores = helper.make_map_type_proto(TensorProto.INT64, helper.make_tensor_type_proto(TensorProto.FLOAT, []))
    outputs = [
        helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        helper.make_value_info("probabilities", helper.make_sequence_type_proto(scores)),
    ]
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2])], outputs)
    opsets = [helper.make_opsetid("", 15), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_a_zipmap_is_named_and_cut_off_on_request(run: Command, tmp_path: Path) -> None:
    """Exit code 3 names the output and --fix; with it the copy is served, and the source stays as it is."""
    source = tmp_path / "sklearn.onnx"
    onnx.save(zipmap_model(), source)
    before = source.read_bytes()
    code, _out, err = run("package", source, "-o", tmp_path / "models")
    assert code == 3
    assert "output 'probabilities'" in err
    assert "--fix" in err
    code, _out, err = run("package", source, "-o", tmp_path / "models", "--fix")
    assert code == 0, err
    assert "ZipMap" in err
    assert source.read_bytes() == before
    manifest = json.loads((tmp_path / "models" / "sklearn" / "manifest.json").read_text())
    assert [output["shape"] for output in manifest["outputs"]] == [[-1, 1], [-1, 2]]
    assert manifest["fixes"]
    assert manifest["verification"]["requests"] > 1


_STAGES = ("reading", "loading", "finding", "proving", "writing", "starting", "waiting", "comparing")


@pytest.mark.parametrize("stage", _STAGES)
def test_ctrl_c_at_any_stage_leaves_the_destination_as_it_was(tmp_path: Path, model: Path, stage: str) -> None:
    """A real SIGINT, while the model is read, run, written, served."""
    repository = tmp_path / "models"
    package_model(model, PackageOptions(repository=repository, verify=False))
    before = read_tree(tmp_path)
    seen = []

    def interrupt(message: str) -> None:
        seen.append(message.split(maxsplit=1)[0])
        if message.startswith(stage):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        package_model(model, PackageOptions(repository=repository, version=2), progress=interrupt)
    assert stage in seen
    assert read_tree(tmp_path) == before


def test_ctrl_c_between_models_says_which_are_packaged(tmp_path: Path, model: Path) -> None:
    """What is whole stays."""
    second = tmp_path / "second.onnx"
    second.write_bytes(model.read_bytes())

    def interrupt(message: str) -> None:
        if message == "loading second.onnx into ONNX Runtime":
            signal.raise_signal(signal.SIGINT)

    options = PackageOptions(repository=tmp_path / "models", verify=False)
    with pytest.raises(Interrupted, match="packaged before that: m"):
        package([model, second], options, progress=interrupt)
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["m"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_command_with_one_line_and_nothing_left(
    tmp_path: Path, model: Path, number: signal.Signals
) -> None:
    """Exit code 130. The command waits for its labels, which come through a pipe, when the signal arrives."""
    os.mkfifo(tmp_path / "labels")
    arguments = ["package", model, "-o", tmp_path / "models", "--labels", tmp_path / "labels"]
    command = subprocess.Popen([sys.executable, "-m", "serve_cli", *arguments], stderr=subprocess.PIPE, text=True)
    with (tmp_path / "labels").open("wb"):
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".serve-")] != []
        command.send_signal(number)
        _out, err = command.communicate()
    assert (command.returncode, err) == (130, "error: interrupted\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels", "m.onnx"]


_PACKAGE_UNDER_LIMIT = r"""
import re, sys
from pathlib import Path
from serve_deploy.errors import Interrupted
from serve_deploy.packaging.options import PackageOptions
from serve_deploy.packaging.package import package_model
package_model(Path(sys.argv[1]), PackageOptions(repository=Path(sys.argv[2]), verify=False, max_batch_size=4))
# Not ru_maxrss, which a process inherits from whoever forked it: here from pytest, however large that has grown.
print(int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024)
"""


def test_a_large_model_is_not_read_into_memory(tmp_path: Path) -> None:
    """Less memory is used than its external data takes; by hand it was tried with 1.5 GB."""
    elements = 400_000_000 // 4 // 1000
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1000, elements])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    tensor.external_data.add(key="length", value=str(1000 * elements * 4))
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    tensors = [("x", TensorProto.FLOAT, ("N", 1000))], [("y", TensorProto.FLOAT, ("N", elements))]
    (tmp_path / "net.onnx").write_bytes(build_model([node], *tensors, initializers=[tensor]).SerializeToString())
    with (tmp_path / "weights.bin").open("wb") as weights:
        weights.truncate(1000 * elements * 4)
    arguments = [sys.executable, "-c", _PACKAGE_UNDER_LIMIT, tmp_path / "net.onnx", tmp_path / "models"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 200e6
    copied = tmp_path / "models" / "net" / "1" / "model.onnx" / "weights.bin"
    assert copied.stat().st_size == 1000 * elements * 4


def test_a_file_too_large_for_the_destination_leaves_nothing(tmp_path: Path) -> None:
    """As on a full disk: exit code 4, with the system's reason."""

    def limit_file_size() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    done = subprocess.run(
        [sys.executable, "-m", "serve_cli", "package", EXAMPLE, "-o", tmp_path / "models", "--no-verify"],
        capture_output=True, text=True, check=False, preexec_fn=limit_file_size,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 4, done.stderr
    assert "file too large" in done.stderr
    assert list(tmp_path.iterdir()) == []
