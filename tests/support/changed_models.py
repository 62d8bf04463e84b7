"""Kinds of change to a served model: how it looks before and after, and what a running Triton is known to do.

Every model is a Python model that writes each start and end of its instances into `events`, beside the repository, so
that a test sees which processes a change ended and started.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CODE = """
import json, os
import numpy as np
import triton_python_backend_utils as utils

class TritonPythonModel:
    def initialize(self, args):
        self.config = json.loads(args["model_config"])
        self.who = f'{args["model_name"]} {args["model_version"]} {os.getpid()}'
        self.events = os.path.join(os.path.dirname(os.path.dirname(args["model_repository"])), "events")
        self.note("start")

    def note(self, what):
        file = os.open(self.events, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{what} {self.who}\\n".encode())
        os.close(file)

    def execute(self, requests):
        return [utils.InferenceResponse([self.answer(output, request) for output in self.config["output"]])
                for request in requests]

    def answer(self, output, request):
        batch = request.inputs()[0].as_numpy().shape[:1] if self.config["max_batch_size"] else ()
        shape = [abs(dim) for dim in output["dims"]]
        kind = utils.triton_string_to_numpy(output["data_type"])
        return utils.Tensor(output["name"], np.zeros((*batch, *shape), kind))

    def finalize(self):
        self.note("end")
"""
Files = Mapping[str, str]


def config(
    *, inputs: str = "x FP32 [3]", outputs: str = "y FP32 [3]", batch: int = 4, instances: int = 1, more: str = ""
) -> str:
    """A configuration; tensors are written as `name TYPE [dims]`, several with `;`."""
    return (
        f'backend: "python"\nmax_batch_size: {batch}\n{_tensors("input", inputs)}{_tensors("output", outputs)}'
        f"instance_group {{ count: {instances} kind: KIND_CPU }}\n{more}\n"
    )


def _tensors(role: str, texts: str) -> str:
    parts = [text.strip().split(" ", 2) for text in texts.split(";")]
    return "".join(f'{role} {{ name: "{name}" data_type: TYPE_{kind} dims: {dims} }}\n' for name, kind, dims in parts)


def ensemble(member: str, *, member_output: str = "y", version: int = -1) -> str:
    """An ensemble of one step, a -> member -> b."""
    return (
        f'platform: "ensemble"\nmax_batch_size: 4\n{_tensors("input", "a FP32 [3]")}{_tensors("output", "b FP32 [3]")}'
        f'ensemble_scheduling {{ step {{ model_name: "{member}" model_version: {version}'
        f' input_map {{ key: "x" value: "a" }} output_map {{ key: "{member_output}" value: "b" }} }} }}\n'
    )


def model(text: str | None = None, *, versions: Mapping[int, str] | None = None, **files: str) -> dict[str, str]:
    """A Python model's files: configuration, version folders with their code, and others (`__` is `/`, `_` is `.`)."""
    given = {name.replace("__", "/").replace("_", "."): content for name, content in files.items()}
    code = {f"{version}/model.py": content for version, content in (versions or {1: CODE}).items()}
    # Where a file has its name, Python writes no bytecode, for which Triton would load the version again when it polls.
    kept_out = {f"{version}/__pycache__": "" for version in versions or {1: CODE}}
    return {"config.pbtxt": config() if text is None else text, **code, **kept_out, **given}


@dataclass(frozen=True)
class Kind:
    """One kind of change: the files of the model before and after ({}: it is not there), and what Triton does."""

    name: str
    before: Files
    after: Files
    action: str
    versions: str = "1"
    breaks: bool = False


ALL, LATEST = "version_policy { all {} }", "version_policy { latest { num_versions: 1 } }"
BOTH = {1: CODE, 2: CODE}
CHANGED = CODE + "\n# changed\n"


def _above(name: str, member: str, action: str, versions: str = "↻1", **more: Any) -> Kind:
    """An ensemble that stays as it is while its member changes."""
    step = {key: more.pop(key) for key in ("member_output", "version") if key in more}
    text = ensemble(member, **step)
    if step.get("member_output") == "b":
        text = text.replace('key: "x"', 'key: "a"')
    files = {"config.pbtxt": text, "1/": ""}
    return Kind(name, files, files, action, versions, **more)


KINDS = (
    Kind("unchanged", model(), model(), "nothing"),
    Kind("comment", model(), model("# a comment\n" + config()), "nothing"),
    Kind("written_default",
         model(config(more="dynamic_batching {}")),
         model(config(more="dynamic_batching { preferred_batch_size: 4 }" + LATEST)),
         "nothing"),
    Kind("instance_name", model(), model(config().replace("count: 1", 'name: "other" count: 1')), "nothing"),
    Kind("shared_file_gone", model(notes_txt="old"), model(), "nothing"),
    Kind("more_instances", model(), model(config(instances=3)), "in_place"),
    Kind("fewer_instances", model(config(instances=2)), model(), "in_place"),
    Kind("batch_size_raised", model(), model(config(batch=8)), "reload", "↻1"),
    Kind("batch_size_lowered", model(), model(config(batch=2)), "reload", "↻1", breaks=True),
    Kind("queue_delay", model(config(more="dynamic_batching {}")),
         model(config(more="dynamic_batching { max_queue_delay_microseconds: 100 }")), "reload", "↻1"),
    Kind("parameter", model(), model(config(more='parameters { key: "k" value {} }')), "reload", "↻1"),
    Kind("parameters_in_other_order",
         model(config(more='parameters { key: "k" value {} } parameters { key: "l" value {} }')),
         model(config(more='parameters { key: "l" value {} } parameters { key: "k" value {} }')), "nothing"),
    Kind("input_renamed", model(), model(config(inputs="z FP32 [3]")), "reload", "↻1", breaks=True),
    Kind("input_added", model(), model(config(inputs="x FP32 [3]; z FP32 [3]")), "reload", "↻1", breaks=True),
    Kind("input_of_other_type", model(), model(config(inputs="x FP64 [3]")), "reload", "↻1", breaks=True),
    Kind("input_of_other_shape", model(), model(config(inputs="x FP32 [5]")), "reload", "↻1", breaks=True),
    Kind("input_widened", model(), model(config(inputs="x FP32 [-1]")), "reload", "↻1"),
    Kind("output_added", model(), model(config(outputs="y FP32 [3]; z FP32 [3]")), "reload", "↻1"),
    Kind("output_removed", model(config(outputs="y FP32 [3]; z FP32 [3]")), model(), "reload", "↻1", breaks=True),
    Kind("code_changed", model(), model(versions={1: CHANGED}), "reload", "↻1"),
    Kind("file_added_to_version", model(), model(**{"1__extra_txt": "new"}), "reload", "↻1"),
    Kind("shared_file_changed", model(notes_txt="old"), model(notes_txt="newer"), "reload", "↻1"),
    Kind("manifest_added", model(), model(manifest_json="{}"), "reload", "↻1"),
    Kind("profile_added", model(), model(**{"configs__l4_pbtxt": config(instances=2)}), "reload", "↻1"),
    Kind("next_version", model(), model(versions=BOTH), "versions", "-1 +2"),
    Kind("version_beside", model(config(more=ALL)), model(config(more=ALL), versions=BOTH), "versions", "1 +2"),
    Kind("version_gone", model(config(more=ALL), versions=BOTH), model(config(more=ALL), versions={2: CODE}),
         "versions", "-1 2", breaks=True),
    Kind("version_not_served_gone", model(versions=BOTH), model(versions={2: CODE}), "nothing", "2"),
    Kind("policy_widened", model(versions=BOTH), model(config(more=ALL), versions=BOTH), "versions", "+1 2"),
    Kind("policy_moved", model(config(more="version_policy { specific { versions: [1] } }"), versions=BOTH),
         model(config(more="version_policy { specific { versions: [2] } }"), versions=BOTH), "versions", "-1 +2",
         breaks=True),
    Kind("one_version_changed", model(config(more=ALL), versions=BOTH),
         model(config(more=ALL), versions={1: CODE, 2: CHANGED}), "reload", "1 ↻2"),
    Kind("instances_and_version", model(config(more=ALL)), model(config(instances=2, more=ALL), versions=BOTH),
         "versions", "1 +2"),
    Kind("added", {}, model(), "load", "+1"),
    Kind("removed", model(), {}, "unload", "-1", breaks=True),
    Kind("broken_config", model(), model(config() + "nonsense {"), "refuse"),
    Kind("wrong_config", model(), model(config(batch=-1)), "refuse"),
    Kind("nothing_to_serve", model(), model(config(more="version_policy { specific { versions: [9] } }")), "refuse"),
    _above("ensemble_of_reloaded", "code_changed", "reload"),
    _above("ensemble_of_more_instances", "more_instances", "reload"),
    _above("ensemble_of_comment", "comment", "reload"),
    _above("ensemble_of_unchanged", "unchanged", "nothing", "1"),
    _above("ensemble_of_refused", "broken_config", "nothing", "1"),
    _above("ensemble_of_removed", "removed", "take_down", "-1", breaks=True),
    _above("ensemble_that_no_longer_fits", "input_of_other_type", "take_down", "-1", breaks=True),
    _above("ensemble_of_pinned_version", "next_version", "take_down", "-1", version=1, breaks=True),
    _above("ensemble_above_ensemble", "ensemble_of_reloaded", "reload", member_output="b"),
    _above("ensemble_of_added", "added", "load", "+1"),
)  # fmt: skip
