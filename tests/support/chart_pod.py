"""A rendered server pod, run here: what the kubelet does with its volumes and arguments, and a real Triton."""

from __future__ import annotations

import base64
import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chart_objects import Objects, pod_templates, select

from serve_deploy.triton.embedded import EmbeddedRuntime, shared_memory_prefix
from serve_deploy.triton.options import ServerOptions
from serve_deploy.triton.process import ServerProcess, start_process
from serve_deploy.triton.runtime import Launch, Ports

POD_UID = "0c5f3c1e-2d8a-4c6f-9f3b-5a1f6d7e8a90"
_OURS = re.compile(r"--(id|backend-directory|cache-directory|.*-address|allow-gpu-metrics|backend-config)=")


def mount_config_map(folder: Path, config_map: dict[str, Any], items: list[dict[str, str]]) -> None:
    """Lay a ConfigMap volume out as the kubelet does: a dated folder, ..data for it, and links to its entries."""
    data = folder / "..2026_11_23_00_00_00.1"
    for item in items:
        path = data / item["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(config_map["binaryData"][item["key"]]))
    (folder / "..data").symlink_to(data.name)
    for entry in data.iterdir():
        (folder / entry.name).symlink_to(f"..data/{entry.name}")


def server_arguments(objects: Objects, mounts: Path) -> list[str]:
    """The container's arguments as Triton would get them, with its mounts under another folder."""
    (server,) = [each for each in pod_templates(objects) if each.serves]
    container = server.spec["containers"][0]
    values = {each["name"]: each.get("value", POD_UID) for each in container["env"]}
    expanded = [re.sub(r"\$\((\w+)\)", lambda m: values[m[1]], text) for text in container["args"][1:]]
    return [text.replace("=/mnt/", f"={mounts}/") for text in expanded]


@contextmanager
def running_pod(objects: Objects, folder: Path) -> Iterator[ServerProcess]:
    """Run the pod's Triton on loopback until the block ends; whether and when it is ready is for the caller to ask."""
    (server,) = [each for each in pod_templates(objects) if each.serves]
    mounts, own = folder / "mnt", folder / "triton"
    (mounts / "models").mkdir(parents=True)
    own.mkdir()
    # Without such a volume Triton reads from a store by itself.
    for models in [volume["configMap"] for volume in server.spec["volumes"] if volume["name"] == "models"]:
        (config_map,) = [each for each in select(objects, "ConfigMap") if each["metadata"]["name"] == models["name"]]
        mount_config_map(mounts / "models", config_map, models["items"])
    options = ServerOptions(repository=mounts)
    server_id = uuid.uuid4().hex[:12]
    embedded = EmbeddedRuntime().prepare(options, Ports(1, 1, 1), server_id, own)
    ours = [text for text in embedded.command[1:] if _OURS.match(text)]
    rendered = [text for text in server_arguments(objects, mounts) if text != "--allow-gpu-metrics=false"]
    variables = {each["name"]: each["value"] for each in server.spec["containers"][0]["env"] if "value" in each}
    launch = Launch((embedded.command[0], *rendered, *ours), environment={**embedded.environment, **variables})
    process = start_process(launch, own, shared_memory_prefix(server_id))
    try:
        yield process
    finally:
        process.destroy()


def run_test_job(objects: Objects, url: str) -> subprocess.CompletedProcess[str]:
    """Run the command of `helm test` against a server; it waits until that is ready."""
    (job,) = [each for each in pod_templates(objects) if each.owner["kind"] == "Job"]
    command = [re.sub(r"^http://demo-triton:\d+$", url, text) for text in job.spec["containers"][0]["command"]]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)
