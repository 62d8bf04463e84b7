"""Measure `serve push` and `serve pull` beside each store's own client, and over connections that are cut.

    make bench   or   python benchmarks/stores.py [--stores s3 gs azure oci] [--rounds 1] [--megabytes 1024]

The stores are real servers on loopback: SeaweedFS for S3, fake-gcs-server, Azurite, and docker-registry for images.
The contenders take turns with the same 300 files; the median of the rounds counts. Each is a process that is started
for it, and what each does with the bytes that it receives is its own:

serve          compares the sha256 of every file, and for images of every layer too; has every file and folder on the
               disk (fsync) before it shows any of them
s3             `aws s3 cp` (awscli from PyPI, in an environment of its own): compares the server's checksums, no fsync
gs             google-cloud-storage's transfer manager, in 8 processes: compares CRC32C, no fsync
azure          azure-storage-blob in 8 threads: compares nothing, no fsync
oci            `skopeo copy` into a folder: compares the sha256 of every layer and has it on the disk; unpacks none

Then 300 files are pushed over connections that are cut ten times, while a reader polls: whatever the pointer names must
be there whole, in every poll. Images are only pulled: skopeo pushes no plain folders. The emulators of Google and Azure
get half of the bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from serve_deploy.stores.address import parse_address
from serve_deploy.stores.backends.opening import open_store
from serve_deploy.stores.manifests.manifests import read_pointer, read_snapshot, stored_path
from serve_deploy.stores.store import Store

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import store_servers as servers  # noqa: E402
from broken_network import broken_wire  # noqa: E402
from docker_registry import running_docker_registry  # noqa: E402

FILES, LARGE_FILES = 300, 3
# Of all bytes, in the large files together.
LARGE_SHARE = 0.4
CUTS = 10
BUCKET = "models"
STORES = ["s3", "gs", "azure", "oci"]

# Uploads or downloads with the cloud's own library, in a process of its own: folder, prefix and direction as arguments.
GCS_CLIENT = """
import sys
from pathlib import Path
from google.cloud.storage import Client, transfer_manager
folder, prefix, direction = sys.argv[1:]
client = Client(project="test")
bucket = client.bucket("models")
if direction == "up":
    names = [str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()]
    results = transfer_manager.upload_many_from_filenames(bucket, names, folder, blob_name_prefix=prefix)
else:
    names = [blob.name.removeprefix(prefix) for blob in client.list_blobs("models", prefix=prefix)]
    results = transfer_manager.download_many_to_path(bucket, names, folder, blob_name_prefix=prefix)
for result in results:
    if isinstance(result, Exception):
        raise result
"""
AZURE_CLIENT = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from azure.storage.blob import BlobServiceClient
folder, prefix, direction = sys.argv[1:]
service = BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"])
container = service.get_container_client("models")
def up(path):
    with path.open("rb") as stream:
        container.upload_blob(prefix + str(path.relative_to(folder)), stream, overwrite=True, max_concurrency=4)
def down(name):
    target = Path(folder, name.removeprefix(prefix))
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as stream:
        container.download_blob(name, max_concurrency=4).readinto(stream)
with ThreadPoolExecutor(8) as pool:
    if direction == "up":
        list(pool.map(up, [path for path in Path(folder).rglob("*") if path.is_file()]))
    else:
        list(pool.map(down, [blob.name for blob in container.list_blobs(prefix)]))
"""


@dataclass(frozen=True)
class Contender:
    """A store that runs, how its addresses are made, and its own client's command for folder, prefix and direction."""

    name: str
    url: str
    address: Callable[[str, str], str]
    client: Callable[[Path, str, str], list[str]]
    environment: Callable[[str], object]
    share: float


@dataclass(frozen=True)
class Run:
    """How long a process took, its CPU time, and the most memory that it held."""

    seconds: float
    cpu_seconds: float
    peak_mb: float


def run(command: list[str]) -> Run:
    """A process to its end; what it says is shown where it fails."""
    started = monotonic()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        # The resource usage of a child begins with its parent's memory; its own high-water mark is in /proc.
        peak = 0
        while not os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            peak = max(peak, read_peak(process.pid))
            sleep(0.05)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            raise SystemExit(f"{command[:4]} failed:\n{said.read().decode(errors='replace')[-3000:]}")
    return Run(monotonic() - started, usage.ru_utime + usage.ru_stime, peak / 1024)


def read_peak(pid: int) -> int:
    """The most KB that a process has held; 0 where it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)


def serve(*arguments: object) -> Run:
    """The command as a user starts it."""
    return run([sys.executable, "-m", "serve_cli", *map(str, arguments)])


def write_models(folder: Path, megabytes: float) -> int:
    """300 files with random content, a few of them large; how many bytes."""
    total = int(megabytes * (1 << 20))
    large, small = int(total * LARGE_SHARE / LARGE_FILES), int(total * (1 - LARGE_SHARE) / (FILES - LARGE_FILES))
    for number in range(FILES):
        path = folder / f"model{number:03d}" / "1" / "model.onnx"
        path.parent.mkdir(parents=True)
        path.write_bytes(random.Random(number).randbytes(large if number < LARGE_FILES else small))
    return total


def find_aws() -> str:
    """awscli, installed once where nothing else is."""
    program = ROOT / ".tools" / "awscli" / "bin" / "aws"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", program.parents[1]], check=True)
        subprocess.run([program.parent / "pip", "install", "--quiet", "awscli"], check=True)
    return str(program)


@contextmanager
def running(name: str, folder: Path) -> Iterator[Contender]:
    """A store by its name."""
    account = servers.AZURE_ACCOUNT
    if name == "s3":
        aws = find_aws()
        with servers.running_seaweed(folder / name) as url, servers.aws_environment(AWS_DEFAULT_REGION="us-east-1"):
            servers.make_s3_bucket(url, BUCKET)

            def command(local: Path, prefix: str, direction: str) -> list[str]:
                ends = [str(local), f"s3://{BUCKET}/{prefix}"]
                ends = ends if direction == "up" else ends[::-1]
                return [aws, "s3", "cp", "--recursive", "--only-show-errors", "--endpoint-url", url, *ends]

            yield Contender(
                name, url, lambda url, path: f"s3://{url}/{BUCKET}/{path}", command,
                lambda _url: servers.aws_environment(), 1,
            )  # fmt: skip
        return

    script = GCS_CLIENT if name == "gs" else AZURE_CLIENT

    def own_client(local: Path, prefix: str, direction: str) -> list[str]:
        return [sys.executable, "-c", script, str(local), prefix, direction]

    if name == "gs":
        with servers.running_gcs(folder / name) as url, servers.gcs_environment(url):
            servers.make_gcs_bucket(BUCKET)
            yield Contender(
                name, url, lambda _url, path: f"gs://{BUCKET}/{path}", own_client, servers.gcs_environment, 0.5
            )
    else:
        with servers.running_azurite(folder / name) as url, servers.azure_environment(url):
            servers.make_azure_container(BUCKET)
            yield Contender(
                name, url, lambda _url, path: f"as://{account}/{BUCKET}/{path}", own_client,
                servers.azure_environment, 0.5,
            )  # fmt: skip


def compare(store: Contender, models: Path, total: int, rounds: int, scratch: Path) -> dict[str, object]:
    """serve and the store's own client, by turns."""
    runs: dict[str, list[Run]] = {"push": [], "own upload": [], "pull": [], "own download": []}
    for number in range(rounds):
        address = store.address(store.url, f"serve-{number}")
        pulled, fetched = scratch / f"pulled-{number}", scratch / f"fetched-{number}"
        runs["own upload"].append(run(store.client(models, f"own-{number}/", "up")))
        runs["push"].append(serve("push", models, address))
        fetched.mkdir()
        runs["own download"].append(run(store.client(fetched, f"own-{number}/", "down")))
        runs["pull"].append(serve("pull", address, pulled))
        for folder in (pulled, fetched):
            remove_whole(folder)
    return summarize(runs, total) | {
        "push / own": compare_medians(runs["own upload"], runs["push"]),
        "pull / own": compare_medians(runs["own download"], runs["pull"]),
    }


def compare_images(models: Path, total: int, rounds: int, scratch: Path) -> dict[str, object]:
    """serve and skopeo, by turns, from one registry."""
    skopeo = shutil.which("skopeo")
    if skopeo is None:
        return {"not measured": "skopeo is not installed: apt-get install skopeo"}
    runs: dict[str, list[Run]] = {"push": [], "pull": [], "own download": []}
    with running_docker_registry(scratch / "oci") as registry:
        image = f"{registry.host}/{BUCKET}:v1"
        runs["push"].append(serve("push", models, f"oci://{image}"))
        copy = [skopeo, "--insecure-policy", "copy", "--quiet", "--src-tls-verify=false", f"docker://{image}"]
        for number in range(rounds):
            pulled, copied = scratch / f"pulled-{number}", scratch / f"copied-{number}"
            runs["own download"].append(run([*copy, f"dir:{copied}"]))
            runs["pull"].append(serve("pull", f"oci://{image}", pulled))
            remove_whole(pulled)
            shutil.rmtree(copied)
    return summarize(runs, total) | {"pull / own": compare_medians(runs["own download"], runs["pull"])}


def remove_whole(folder: Path) -> None:
    """Remove what was received, if all of it is there."""
    if count_files(folder) != FILES:
        raise SystemExit(f"{folder} has {count_files(folder)} files")
    shutil.rmtree(folder)


def compare_medians(own: list[Run], ours: list[Run]) -> float:
    """Our rate, where that of the store's own client is 1."""
    return round(statistics.median(each.seconds for each in own) / statistics.median(each.seconds for each in ours), 2)


def summarize(runs: dict[str, list[Run]], total: int) -> dict[str, object]:
    """Rates, CPU time, and what serve took of memory."""
    rates = {name: total / 1e6 / statistics.median(each.seconds for each in some) for name, some in runs.items()}
    result: dict[str, object] = {f"{name} MB/s": round(rate) for name, rate in rates.items()}
    for name, some in runs.items():
        result[f"{name} CPU seconds"] = round(statistics.median(each.cpu_seconds for each in some), 1)
    for name in ("push", "pull"):
        result[f"{name} MB of memory"] = round(max(each.peak_mb for each in runs[name]))
    return result


def count_files(folder: Path) -> int:
    """Files below a folder."""
    return sum(path.is_file() for path in folder.rglob("*"))


class Reader(threading.Thread):
    """Polls a store, and looks whether what its pointer names is there whole."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store, self._ended = store, threading.Event()
        self.polls, self.broken = 0, list[str]()

    def run(self) -> None:
        """Until it is told to end."""
        while not self._ended.is_set():
            named = read_pointer(self._store).snapshot
            if named is not None:
                self._look(named)
            self.polls += 1

    def _look(self, named: str) -> None:
        snapshot = read_snapshot(self._store, named)
        if snapshot is None:
            self.broken.append(f"{named} has no manifest")
            return
        listed = self._store.list_files(stored_path(named, ""))
        found = {path: (file.size_bytes, file.checksum) for path, file in listed.items()}
        wanted = {stored_path(named, file.path): (file.size_bytes, file.stored) for file in snapshot.files}
        if found != wanted:
            self.broken.append(f"{named} is not whole")

    def end(self) -> None:
        """Have it end, and wait."""
        self._ended.set()
        self.join()


def push_over_cuts(store: Contender, models: Path, total: int, scratch: Path) -> dict[str, object]:
    """A push and a pull whose connections are cut, beside a reader; nothing may be lost or half there."""
    first = scratch / "first"
    write_models(first, 1)
    serve("push", first, store.address(store.url, "cut"))
    reader = Reader(open_store(parse_address(store.address(store.url, "cut"))))
    # The last cut comes well before the last byte.
    cuts = [int(total * number / (CUTS + 1)) for number in range(1, CUTS + 1)]
    with ExitStack() as stack:
        reader.start()
        stack.callback(reader.end)
        up = stack.enter_context(broken_wire(store.url, cuts=cuts))
        stack.enter_context(store.environment(up.url))  # type: ignore[arg-type]
        pushed = serve("push", models, store.address(up.url, "cut"))
    with ExitStack() as stack:
        down = stack.enter_context(broken_wire(store.url, cuts=cuts))
        stack.enter_context(store.environment(down.url))  # type: ignore[arg-type]
        pulled = serve("pull", store.address(down.url, "cut"), scratch / "pulled")
    same = subprocess.run(["diff", "-r", models, scratch / "pulled"], check=False).returncode == 0
    shutil.rmtree(scratch / "pulled")
    if reader.broken or not same:
        raise SystemExit(f"{store.name}: {reader.broken[:3] or 'what was pulled is not what was pushed'}")
    return {
        "cuts in push": up.cut_count, "cuts in pull": down.cut_count, "polls of a reader": reader.polls,
        "half visible": len(reader.broken), "same content": same, "push MB of memory": round(pushed.peak_mb),
        "pull MB of memory": round(pulled.peak_mb), "push seconds": round(pushed.seconds, 1),
    }  # fmt: skip


def measure(name: str, megabytes: float, rounds: int) -> dict[str, object]:
    """What is printed of a store."""
    with tempfile.TemporaryDirectory() as folder:
        scratch, models = Path(folder), Path(folder) / "models"
        if name == "oci":
            total = write_models(models, megabytes)
            return {"megabytes": total >> 20, "files": FILES, **compare_images(models, total, rounds, scratch)}
        with running(name, scratch) as store:
            total = write_models(models, megabytes * store.share)
            return {
                "megabytes": total >> 20, "files": FILES,
                **compare(store, models, total, rounds, scratch),
                "connections cut": push_over_cuts(store, models, total, scratch),
            }  # fmt: skip


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stores", nargs="+", choices=STORES, default=STORES)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--megabytes", type=float, default=1024)
    options = parser.parse_args()
    os.environ["PATH"] = f"{ROOT / '.tools'}:{os.environ['PATH']}"
    results = {name: measure(name, options.megabytes, options.rounds) for name in options.stores}
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
