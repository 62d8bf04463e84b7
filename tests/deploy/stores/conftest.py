"""One server of each kind for all tests of a worker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
from store_servers import (
    aws_environment,
    azure_environment,
    gcs_environment,
    make_azure_container,
    make_gcs_bucket,
    make_s3_bucket,
    running_azurite,
    running_gcs,
    running_moto,
    running_seaweed,
)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A name for a folder that does not exist yet."""
    return lambda name: tmp_path_factory.mktemp("servers") / name


@pytest.fixture(scope="session")
def seaweed(folder: Callable[[str], Path]) -> Iterator[str]:
    """The URL of an S3 that checks everything, with the bucket `models`."""
    with running_seaweed(folder("seaweed")) as url, aws_environment():
        make_s3_bucket(url, "models")
        yield url


@pytest.fixture(scope="session")
def moto(folder: Callable[[str], Path]) -> Iterator[str]:
    """The URL of an S3 that checks little, with the bucket `models`."""
    with running_moto(folder("moto")) as url, aws_environment():
        make_s3_bucket(url, "models")
        yield url


@pytest.fixture(scope="session")
def new_path() -> Callable[[], str]:
    """A path in a bucket that no test has used."""
    numbers = count()
    return lambda: f"store-{next(numbers)}"


@pytest.fixture(scope="session")
def gcs(folder: Callable[[str], Path]) -> Iterator[str]:
    """The URL of a Google Cloud Storage, with the bucket `models`."""
    with running_gcs(folder("gcs")) as url, gcs_environment(url):
        make_gcs_bucket("models")
        yield url


@pytest.fixture(scope="session")
def azurite(folder: Callable[[str], Path]) -> Iterator[str]:
    """The URL of an Azure Blob Storage, with the container `models`."""
    with running_azurite(folder("azurite")) as url, azure_environment(url):
        make_azure_container("models")
        yield url
