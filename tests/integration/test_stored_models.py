"""A real Triton on models that stand in a store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import serve_deploy as serve
from serve_deploy.checking.served_snapshot import ServedModel, ServedSnapshot
from serve_deploy.endpoint.address import parse_endpoint
from serve_deploy.endpoint.control import ControlPlane
from serve_deploy.stores.address import StoreAddress
from serve_deploy.stores.pull.cache import pull_into_cache
from serve_deploy.triton import ServerOptions, TritonServer, start_server
from serve_deploy.triton.following import StoreFollower, following
from serve_deploy.triton.watch import ModelChange

_MODEL = Path(__file__).parents[2] / "examples" / "digits" / "digits.onnx"
_LOOKS = 40


@dataclass
class _Served:
    store: StoreAddress
    server: TritonServer
    follower: StoreFollower
    first: str
    now: float = 0.0

    def compare(self, store: StoreAddress) -> ServedSnapshot:
        options = serve.CheckOptions(repository=store, url=self.server.http_url, load=False)
        served = serve.check_store(options).served
        assert served is not None
        return served

    def follow(self) -> list[ModelChange]:
        """Serve until something was loaded; each look at the store comes a minute after the last."""
        changes: list[ModelChange] = []
        looks = iter(range(_LOOKS))

        def tick() -> None:
            if changes or next(looks, None) is None:
                raise _EnoughError
            self.now += 60
            self.follower.look()

        with pytest.raises(_EnoughError):
            self.server.serve(on_change=changes.append, on_tick=tick)
        return changes


class _EnoughError(Exception):
    """The server need not run longer."""


def _package(store: StoreAddress, name: str, **options: object) -> serve.PackageSummary:
    return serve.package(
        [_MODEL], serve.PackageOptions(repository=store, name=name, version=None, verify=False, **options)
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Served]:
    """A Triton that follows a local store with one model, all of it through the cache."""
    folder = tmp_path_factory.mktemp("stored")
    store = StoreAddress("local", str(folder / "store"))
    pushed = _package(store, "digits").pushed
    assert pushed is not None
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("SERVE_CACHE", str(folder / "cache"))
        repository = pull_into_cache(store)
    options = ServerOptions(repository=repository, runtime="embedded", watch=True, pulled_from=store)
    made: list[_Served] = []
    with following(options, clock=lambda: made[0].now if made else 0.0) as (own, follower):
        assert follower is not None
        with start_server(own) as server:
            made.append(_Served(store, server, follower, pushed.snapshot))
            yield made[0]


def test_a_server_serves_the_snapshot_that_it_was_started_on(served: _Served) -> None:
    """Names, versions and configurations agree."""
    (model,) = served.compare(replace(served.store, snapshot=served.first)).models
    assert model == ServedModel("digits", (1,), (1,), config_compared=True, differences=())


def test_what_is_pushed_later_differs_until_the_server_has_followed(served: _Served) -> None:
    """A new version and a new model are named, and then served; the old snapshot is not what is served any more."""
    _package(served.store, "digits", max_batch_size=4)
    _package(served.store, "letters", max_batch_size=4)
    before = {model.name: model.differences for model in served.compare(served.store).different}
    assert "version 2 is not served" in before["digits"]
    assert any("is not served" in each for each in before["letters"])
    loaded = {change.model: change.error for change in served.follow()}
    assert loaded == {"digits": None, "letters": None}
    assert served.compare(served.store).different == ()
    assert served.compare(replace(served.store, snapshot=served.first)).different
    with ControlPlane(parse_endpoint(served.server.http_url), timeout_seconds=120) as control:
        assert control.model_config("digits")["max_batch_size"] == 4
