"""Where the models come from, and which are loaded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from serve_deploy.chart.values.base import DnsLabel, Quantity, Values


class Credentials(Values):
    """How Triton, or the fetching init container, authenticates to a private source; empty for workload identity."""

    existing_secret: DnsLabel = ""
    """Name of an existing Secret (or of the one that externalSecret creates)."""
    kind: Literal["triton", "google", "aws", "environment"] = "triton"
    """What the Secret contains: `triton` a TRITON_CLOUD_CREDENTIAL_PATH file, `google` a service account key, `aws` a shared credentials file, `environment` variables such as AZURE_STORAGE_ACCOUNT, one per key."""  # noqa: E501
    key: str = "credentials.json"
    """The Secret's key that contains the file."""


class Carried(Values):
    """A repository carried by the chart itself, in a ConfigMap; about 330 KB packed under Helm's default storage."""

    path: Annotated[str, Field(pattern=r"^files/.+[^/]$")] = "files/example-model"
    """Folder of the chart that contains the model folders."""


class Claim(Values):
    """A repository on a volume."""

    existing_claim: DnsLabel = ""
    """Name of an existing PersistentVolumeClaim; empty creates one, which you fill."""
    path: str = ""
    """Folder of the volume that contains the model folders; empty means its root."""
    size: Quantity = "10Gi"
    """Size of a created claim."""
    storage_class: str = ""
    """Storage class of a created claim; empty means the cluster's default."""
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"] = "ReadWriteMany"
    """Access mode of a created claim; replicas on several nodes need a `Many` mode."""
    keep: bool = True
    """Keep a created claim when the release is uninstalled."""


class OciImage(Values):
    """A repository inside an OCI image."""

    reference: str = ""
    """Image reference, ideally with a digest."""
    path: str = "models"
    """Folder of the image that contains the model folders."""
    method: Literal["auto", "volume", "copy"] = "auto"
    """`volume` mounts the image (Kubernetes ≥ 1.31, on by default from 1.35); `copy` runs it as an init container, so it needs `cp`. `auto` picks by the cluster's version."""  # noqa: E501
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When the kubelet pulls the image."""


class Archive(Values):
    """A repository in a .tar.gz at an http(s) address."""

    url: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = ""
    """Address of a .tar or .tar.gz whose root contains the model folders."""
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """Expected digest of the archive."""
    header_secret: DnsLabel = ""
    """Existing Secret whose key `header` contains a request header, such as `Authorization: Bearer …`."""


class ModelRepository(Values):
    """The model repository."""

    source: Literal["carried", "s3", "gcs", "azure", "pvc", "oci", "http"] = "carried"
    """Where it is. `carried` serves the chart's own example model until you change it."""
    uri: Annotated[str, Field(pattern=r"^((s3|gs|as)://.+)?$")] = ""
    """`s3://bucket/path`, `s3://https://host:port/bucket/path`, `gs://bucket/path` or `as://account/container/path`."""
    layout: Literal["fixed", "snapshots"] = "fixed"
    """How the models lie there: `fixed`, the address is the repository itself; `snapshots`, it is a store of serve push (s3, gcs, azure or pvc), and replicas read the snapshot that revision names: `<address>/snapshots/<revision>`, which never changes."""  # noqa: E501
    revision: Annotated[str, Field(max_length=128)] = ""
    """What tells one content of the address from another, such as its digest: a new value rolls the replicas. With layout snapshots it is the ID of the snapshot. Without it, models that change behind the same address reach only replicas that start later. A carried repository has its own."""  # noqa: E501
    region: str = ""
    """AWS_DEFAULT_REGION, for S3."""
    carried: Carried = Carried()
    pvc: Claim = Claim()
    oci: OciImage = OciImage()
    http: Archive = Archive()
    credentials: Credentials = Credentials()


class ModelSelection(Values):
    """Which models are loaded, and which of them clients call."""

    load: list[str] = []
    """Models to load at the start (explicit mode); empty loads every model of the repository."""
    top_level: list[str] = []
    """Models that clients call. Scaling, alerts and readiness use only these, since an ensemble's requests contain those of its members. Empty means all."""  # noqa: E501


class ExternalSecret(Values):
    """An ExternalSecret (external-secrets.io) that creates the credentials' Secret."""

    enabled: bool = False
    """Create it; modelRepository.credentials.existingSecret names the Secret it writes, or stays empty."""
    store: str = ""
    """Name of the SecretStore."""
    store_kind: Literal["SecretStore", "ClusterSecretStore"] = "SecretStore"
    """Kind of the store."""
    remote_key: str = ""
    """Name of the credential in the store."""
    refresh_interval: str = "1h"
    """How often it is refreshed."""
