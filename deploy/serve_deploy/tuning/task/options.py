"""What `tune` is asked to do; the same for the command and for Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from serve_deploy.endpoint.address import (
    CaFile,
    CertificateFile,
    Endpoint,
    Headers,
    Insecure,
    KeyFile,
    TokenFile,
    read_endpoint,
)
from serve_deploy.errors import UsageError
from serve_deploy.loadtest.options.mix import parse_weight
from serve_deploy.option import Made, Option
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.repository_option import read_repository
from serve_deploy.tensors.shape_text import parse_shape
from serve_deploy.triton.options import UsedRelease, UsedRuntime
from serve_deploy.tuning.candidates.vary import Vary, read_vary

Objective = Literal["throughput", "latency", "cost"]
_GOAL, _SPACE, _EFFORT, _REQUESTS, _SERVER = "Objective", "Configurations", "Effort", "Requests", "Server"


def read_remote(
    url: Annotated[
        str | None,
        Option(
            "Tune on this running Triton in explicit mode, whose files are those of the repository.",
            metavar="URL",
            group=_SERVER,
        ),
    ] = None,
    *,
    headers: Headers = (),
    token_file: TokenFile = None,
    ca_file: CaFile = None,
    certificate_file: CertificateFile = None,
    key_file: KeyFile = None,
    insecure: Insecure = False,
) -> Endpoint | None:
    """The running server to tune on; None: servers of our own."""
    if url is None:
        return None
    return read_endpoint(
        url,
        headers=headers,
        token_file=token_file,
        ca_file=ca_file,
        certificate_file=certificate_file,
        key_file=key_file,
        insecure=insecure,
    )


@dataclass(frozen=True, kw_only=True)
class TuneOptions:
    """Which model to tune, for what, over which configurations, and with how much effort."""

    repository: Annotated[
        Path,
        Option(
            "A Triton model repository, or a store's address; by default models.",
            metavar="REPOSITORY",
            read=read_repository,
        ),
    ] = Path("models")
    # The store of which `repository` is a copy.
    pulled_from: StoreAddress | None = None
    models: Annotated[
        tuple[str, ...],
        Option("Model or ensemble to tune; repeatable: models that share a server.", metavar="NAME", group=_GOAL),
    ] = ()
    weights: Annotated[
        tuple[tuple[str, float], ...],
        Option("Of several models: so many requests go to this one, to the others 1 each; repeatable.",
               metavar="NAME=NUMBER", group=_GOAL, read=parse_weight),
    ] = ()  # fmt: skip
    objective: Annotated[
        Objective,
        Option(
            "throughput: most inferences/s; latency: lowest p99 at `rate`; cost: least server CPU an inference.",
            group=_GOAL,
        ),
    ] = "throughput"
    slo: Annotated[
        tuple[str, ...],
        Option(
            "Gate that must hold, such as 'p99<50ms'; of one model 'a:p99<50ms'; repeatable.",
            metavar="GATE",
            group=_GOAL,
        ),
    ] = ()
    rate: Annotated[
        float | None,
        Option(
            "For latency and cost: requests/s, independent arrivals; latency's default is half of what is served now.",
            minimum=0.1,
            group=_GOAL,
        ),
    ] = None
    concurrency: Annotated[
        int, Option("Most requests at a time that callers have in flight.", minimum=1, maximum=1024, group=_GOAL)
    ] = 128
    max_memory_mb: Annotated[
        int | None, Option("Most memory that the server may use, in MB.", metavar="MB", minimum=1, group=_GOAL)
    ] = None
    model_config_name: Annotated[
        str,
        Option("Tune configs/NAME.pbtxt of each model that has one, on a machine that it is for.", metavar="NAME",
               group=_SPACE),
    ] = ""  # fmt: skip
    max_batch_size: Annotated[
        int | None, Option("Largest max_batch_size to try; by default 64, or the file's.", minimum=1, group=_SPACE)
    ] = None
    max_instances: Annotated[
        int | None,
        Option("Most instances to try; by default more as long as they help, up to 8.", minimum=1, group=_SPACE),
    ] = None
    max_delay_us: Annotated[int, Option("Longest queue delay to try.", minimum=0, group=_SPACE)] = 10_000
    vary: Annotated[
        Vary,
        Option("Also try these values of a field of config.pbtxt; repeatable.", metavar="PATH=V1,V2", group=_SPACE,
               read=read_vary),
    ] = ()  # fmt: skip
    keep_threads: Annotated[bool, Option("Leave threads and execution mode as they are.", group=_SPACE)] = False
    finalists: Annotated[
        int, Option("Configurations that race against the current one.", minimum=1, maximum=8, group=_EFFORT)
    ] = 3
    min_gain: Annotated[
        float, Option("Least gain worth a change: 0.03 is 3 %.", minimum=0, maximum=10, group=_EFFORT)
    ] = 0.03
    period_seconds: Annotated[float, Option("Length of one measurement.", minimum=0.1, group=_EFFORT)] = 1.0
    max_rounds: Annotated[int, Option("Most rounds of the race.", minimum=4, group=_EFFORT)] = 20
    fresh: Annotated[bool, Option("Start again instead of resuming a run that was cut short.", group=_EFFORT)] = False
    seed: Annotated[int, Option("Seed for generated data and the order of the race.", group=_EFFORT)] = 0
    data: Annotated[Path | None, Option("Send this data instead of the model's own samples.", group=_REQUESTS)] = None
    shapes: Annotated[
        tuple[tuple[str, tuple[int, ...]], ...],
        Option("Sizes of free dims in generated data, without the batch axis: IN:3,224,224.", metavar="INPUT:DIMS",
               group=_REQUESTS, read=parse_shape),
    ] = ()  # fmt: skip
    runtime: UsedRuntime = None
    release: UsedRelease = None
    endpoint: Annotated[Endpoint | None, Made(read_remote)] = None
    apply: Annotated[bool, Option("Write the winner into the repository.", group="Result")] = False
    state: Path | None = field(default=None)

    def __post_init__(self) -> None:
        """Refuse to write into the copy of a store."""
        if self.apply and self.pulled_from:
            raise UsageError(
                f"`apply` writes into a folder, and {self.pulled_from} is a store",
                hint="pull it into a folder, tune that, and push it: serve pull, serve tune, serve push",
            )
