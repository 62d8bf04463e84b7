"""A real Triton does what `serve diff` says, on every kind of change, polling by itself and when it is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from changed_models import KINDS, Kind, ensemble, model
from written_models import change_in_place, write_files

from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.errors import EndpointError
from serve_deploy.repository_changes.change import ModelChange
from serve_deploy.repository_changes.comparison import RepositoryChanges, compare_repositories
from serve_deploy.repository_changes.options import DiffOptions
from serve_deploy.triton import TritonServer

# In explicit mode the same is done, but only for what is asked; ensembles and what is added or gone may differ.
ASKED = {kind.name for kind in KINDS if "ensemble" in kind.name or kind.action in ("load", "unload", "refuse")} | {
    "unchanged", "comment", "code_changed", "more_instances", "input_of_other_type", "next_version",
}  # fmt: skip
SIGNS = {"kept": "", "loaded": "+", "reloaded": "↻", "unloaded": "-"}
Processes = Mapping[str, set[str]]
Seen = TypeVar("Seen")


@dataclass
class Scene:
    """A server whose models all changed at once: what was said of it, and what was seen of it before and now."""

    server: TritonServer
    changes: RepositoryChanges
    events: Path
    before: Processes
    served_before: set[str]
    loads_before: dict[str, int]

    def now(self) -> Processes:
        return read_processes(self.events)

    def served(self) -> set[str]:
        return read_served(self.server)


def read_processes(events: Path) -> Processes:
    """The processes that run each version: `model version` → process IDs."""
    running: dict[str, set[str]] = {}
    for line in events.read_text().splitlines():
        what, name, version, pid = line.split()
        (set.add if what == "start" else set.discard)(running.setdefault(f"{name} {version}", set()), pid)
    return {version: {pid for pid in pids if is_running(pid)} for version, pids in running.items()}


def is_running(pid: str) -> bool:
    """Whether the process is there; Triton kills one that takes too long to end, which then cannot note it."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


def read_served(server: TritonServer) -> set[str]:
    return {f"{state.name} {state.version}" for state in server.model_states() if state.state == "READY"}


def count_loads(server: TritonServer) -> dict[str, int]:
    """How often Triton began to load each ensemble, which has no process of its own."""
    log = server.log_text()
    return {kind.name: log.count(f"loading: {kind.name}:") for kind in KINDS}


def wait_until(happened: Callable[[], bool], what: str) -> None:
    assert watch(happened, True, seconds=120), what


def watch(look: Callable[[], Seen], expected: Seen, seconds: float = 60) -> Seen:
    """What is seen as soon as it is what is expected, or when the time is over."""
    end = time.monotonic() + seconds
    while (seen := look()) != expected and time.monotonic() < end:
        time.sleep(0.05)
    return seen


def observe(scene: Scene, name: str) -> tuple[str, str]:
    """What Triton did with a model, in the words of serve diff."""
    served = scene.served()
    versions = sorted(
        int(each.split()[1]) for each in {*served, *scene.served_before} if each.split()[0] == name and each.split()[1]
    )
    actions = {version: observe_version(scene, f"{name} {version}", served) for version in versions}
    signs = " ".join(f"{SIGNS[action.removesuffix(' in place')]}{version}" for version, action in actions.items())
    seen = set(actions.values())
    was, now = (any(each.split()[0] == name for each in some) for some in (scene.served_before, served))
    if not was or not now:
        return ("load" if now else "unload"), signs
    if "reloaded" in seen:
        return "reload", signs
    if seen & {"loaded", "unloaded"}:
        return "versions", signs
    return ("in_place" if "kept in place" in seen else "nothing"), signs


def observe_version(scene: Scene, version: str, served: set[str]) -> str:
    if version not in scene.served_before or version not in served:
        return "loaded" if version in served else "unloaded"
    name = version.split(maxsplit=1)[0]
    if "ensemble" in name:
        return "reloaded" if count_loads(scene.server)[name] > scene.loads_before[name] else "kept"
    before, now = scene.before.get(version, set()), scene.now().get(version, set())
    if before == now:
        return "kept"
    return "kept in place" if before & now else "reloaded"


@pytest.fixture(scope="module")
def scene(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    triton_server: Callable[..., TritonServer],
) -> Iterator[Scene]:
    """Each kind of change, made to a model of its own, all at once."""
    kinds = KINDS if request.param == "poll" else [kind for kind in KINDS if kind.name in ASKED]
    root = tmp_path_factory.mktemp("scene")
    served, new, staging = root / "served", root / "new", root / "staging"
    staging.mkdir()
    for kind in kinds:
        write_files(served / kind.name, kind.before)
        write_files(new / kind.name, kind.after)
    write_files(served / "anchor", model())
    write_files(new / "anchor", model())
    mode = {"explicit": True, "models": ("*",)}
    if request.param == "poll":
        mode = {"extra_arguments": ("--model-control-mode=poll", "--repository-poll-secs=1")}
    server = triton_server(served, **mode)
    changes = compare_repositories(DiffOptions(old=str(served), new=new))
    scene = Scene(
        server, changes, root / "events", read_processes(root / "events"), read_served(server), count_loads(server)
    )
    for kind in kinds:
        change_in_place(served / kind.name, kind.after, staging)
    if request.param == "explicit":
        apply_explicitly(server, changes)
    else:
        wait_for_poll(server, served, staging)
    yield scene
    server.stop(drain=False)


def apply_explicitly(server: TritonServer, changes: RepositoryChanges) -> None:
    """Ask for what serve diff lists; what it leaves out must change nothing, so that is asked for as well."""
    with ControlPlane(parse_endpoint(server.http_url), timeout_seconds=120) as control:
        for name in changes.unload:
            control.unload_model(name)
        for name in changes.load:
            control.load_model(name)
        for each in changes.models:
            if each.action in ("nothing", "refuse"):
                with suppress(EndpointError):  # a refusal; what it serves then is what counts
                    control.load_model(each.name)


def wait_for_poll(server: TritonServer, served: Path, staging: Path) -> None:
    """Two polls that began after the change: one that sees a new ensemble, and one that sees it gone."""
    write_files(staging / "sentinel", {"config.pbtxt": ensemble("anchor"), "1/": ""})
    (staging / "sentinel").rename(served / "sentinel")
    wait_until(lambda: "sentinel 1" in read_served(server), "the sentinel did not load")
    change_in_place(served / "sentinel", {}, staging)
    wait_until(lambda: "sentinel 1" not in read_served(server), "the sentinel did not go")


def answers_as_before(server: TritonServer, name: str) -> bool:
    """Whether a client of the old model gets what it expects: the same request, its outputs in their old shapes."""
    from tritonclient import http

    is_ensemble = "ensemble" in name
    client = http.InferenceServerClient(server.http_url.removeprefix("http://"))
    given = http.InferInput("a" if is_ensemble else "x", [4, 3], "FP32")
    given.set_data_from_numpy(np.zeros((4, 3), np.float32))
    wanted = ["b"] if is_ensemble else ["y", "z"] if name == "output_removed" else ["y"]
    version = "1" if name in ("version_gone", "policy_moved") else ""
    try:
        reply = client.infer(name, [given], version, outputs=[http.InferRequestedOutput(each) for each in wanted])
        return all(reply.as_numpy(each).shape == (4, 3) for each in wanted)
    except Exception:  # noqa: BLE001 - however it fails, the client is broken
        return False
    finally:
        client.close()


def said_of(scene: Scene, kind: Kind) -> ModelChange:
    return next(each for each in scene.changes.models if each.name == kind.name)


CASES = [("poll", kind) for kind in KINDS] + [("explicit", kind) for kind in KINDS if kind.name in ASKED]


def name_case(value: object) -> str:
    return value.name if isinstance(value, Kind) else str(value)


@pytest.mark.parametrize(("scene", "kind"), CASES, indirect=["scene"], ids=name_case, scope="module")
def test_triton_does_what_was_said(scene: Scene, kind: Kind) -> None:
    """The action and each version's, seen by which processes ended and started, by the index and by the log."""
    said = said_of(scene, kind)
    # What serve diff tells apart by its reason, Triton shows alike.
    alike = {"refuse": "nothing", "take_down": "unload"}
    signs = " ".join(f"{SIGNS[each.action]}{each.version}" for each in said.versions)
    expected = (alike.get(said.action, said.action), signs)
    assert watch(lambda: observe(scene, kind.name), expected) == expected


@pytest.mark.parametrize(("scene", "kind"), CASES, indirect=["scene"], ids=name_case, scope="module")
def test_clients_break_where_it_was_said(scene: Scene, kind: Kind) -> None:
    """A request that the old model answered fails, or its answer has another shape, exactly where that was said."""
    expected = not said_of(scene, kind).breaks
    # A Python model that is new may be loading again: Python has written its __pycache__.
    assert watch(lambda: answers_as_before(scene.server, kind.name), expected) is expected
