"""The endpoint's control plane: metadata, configuration, statistics, the model repository, shared memory."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any, Self

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.endpoint.connection import GrpcConnection, HttpConnection, RefusedError
from serve_deploy.endpoint.model import Document, Model, ModelState, model_path, quote_model, read_model, read_state
from serve_deploy.errors import EndpointError

_NOT_TRITON = "is this Triton's port? A server with OpenAI's protocol is measured with `generate=chat`"
_METRICS_PORT = "is this Triton's HTTP port? The one for metrics answers so"


class ControlPlane:
    """What Triton says and does beside inference, the same over HTTP and gRPC; leaving its context closes it.

    Documents have the HTTP protocol's keys. Raises RefusedError where Triton refuses, EndpointError where nothing
    answers.
    """

    def __init__(self, endpoint: Endpoint, *, timeout_seconds: float) -> None:
        self._endpoint = endpoint
        self._connection = (
            HttpConnection(endpoint, timeout_seconds)
            if endpoint.protocol == "http"
            else GrpcConnection(endpoint, timeout_seconds)
        )

    def server_metadata(self) -> Document:
        """The server's name, version and extensions."""
        try:
            return self._ask("ServerMetadata", "GET", "/v2")
        except RefusedError as error:
            error.hint = _NOT_TRITON if error.status == HTTPStatus.NOT_FOUND else error.hint
            raise

    def is_ready(self, model: str, version: str = "") -> bool:
        """Whether the model can be asked now; an unknown one cannot."""
        path = f"{model_path(model, version)}/ready"
        if isinstance(self._connection, GrpcConnection):
            return bool(self._ask("ModelReady", "GET", path, name=model, version=version).get("ready"))
        try:
            self._connection.exchange("GET", path)
        except RefusedError:
            return False
        return True

    def describe_model(self, model: str, version: str = "") -> Model:
        """What the model takes and returns; EndpointError lists the models that there are where it is none of them."""
        try:
            return read_model(self.model_metadata(model, version), self.model_config(model, version))
        except ValueError as error:
            raise EndpointError(
                f"{self._endpoint.url}: {model} has a tensor type that serve does not know: {error}"
            ) from error
        except EndpointError as error:
            served = self._served_models()
            if served and model not in served:
                raise EndpointError(
                    f"{self._endpoint.url} serves no model '{model}'", hint=f"it serves {', '.join(served)}"
                ) from error
            if model in served and self._endpoint.protocol == "http" and quote_model(model) != model:
                raise EndpointError(
                    f"{self._endpoint.url}: HTTP cannot name the model '{model}': Triton does not decode URLs",
                    hint="ask over gRPC, or rename the model's folder",
                ) from error
            raise

    def model_metadata(self, model: str, version: str = "") -> Document:
        """The model's inputs and outputs."""
        return self._ask("ModelMetadata", "GET", model_path(model, version), name=model, version=version)

    def model_config(self, model: str, version: str = "") -> Document:
        """The model's configuration as Triton completed it."""
        path = f"{model_path(model, version)}/config"
        answer = self._ask("ModelConfig", "GET", path, name=model, version=version)
        return answer.get("config", answer)  # type: ignore[no-any-return]

    def statistics(self, model: str = "", version: str = "") -> list[Document]:
        """Triton's counters of the model, or of all, for each version."""
        path = f"{model_path(model, version)}/stats" if model else "/v2/models/stats"
        answer = self._ask("ModelStatistics", "GET", path, name=model, version=version)
        return answer.get("model_stats", [])  # type: ignore[no-any-return]

    def read_composition(self, model: Model) -> dict[str, Document]:
        """The configuration of every model that an ensemble runs, inner ensembles and what these run included."""
        found: dict[str, Document] = {}
        waiting = list(model.members)
        while waiting:
            name = waiting.pop(0)
            if name not in found:
                found[name] = self.model_config(name)
                waiting += [step["model_name"] for step in found[name].get("ensemble_scheduling", {}).get("step", [])]
        return found

    def model_states(self) -> tuple[ModelState, ...]:
        """The repository index; a model that is not loaded has no version."""
        try:
            answer: Any = self._ask("RepositoryIndex", "POST", "/v2/repository/index")
        except RefusedError as error:
            error.hint = _METRICS_PORT if error.status == HTTPStatus.METHOD_NOT_ALLOWED else error.hint
            raise
        return tuple(map(read_state, answer if isinstance(answer, list) else answer.get("models", [])))

    def load_model(self, model: str, config: Document | None = None) -> None:
        """Load or reload a model, and wait until it has loaded.

        A configuration in protobuf's JSON form takes the place of its file's, until the model is unloaded.
        """
        path = f"/v2/repository/models/{quote_model(model)}/load"
        given: Document = {}
        if config is not None:
            text = json.dumps(config)
            is_grpc = isinstance(self._connection, GrpcConnection)
            given = {"parameters": {"config": {"string_param": text} if is_grpc else text}}
        self._ask("RepositoryModelLoad", "POST", path, model_name=model, **given)

    def unload_model(self, model: str) -> None:
        """Unload a model."""
        path = f"/v2/repository/models/{quote_model(model)}/unload"
        self._ask("RepositoryModelUnload", "POST", path, model_name=model)

    def register_shared_memory(self, region: str, key: str, size_bytes: int) -> None:
        """Have Triton map a region of POSIX shared memory."""
        path = f"/v2/systemsharedmemory/region/{region}/register"
        self._ask("SystemSharedMemoryRegister", "POST", path, name=region, key=key, offset=0, byte_size=size_bytes)

    def unregister_shared_memory(self, region: str) -> None:
        """Have Triton forget a region."""
        path = f"/v2/systemsharedmemory/region/{region}/unregister"
        self._ask("SystemSharedMemoryUnregister", "POST", path, name=region)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _served_models(self) -> list[str]:
        try:
            return sorted({state.name for state in self.model_states()})
        except EndpointError:
            return []

    def _ask(self, method: str, verb: str, path: str, **fields: Any) -> Document:
        """Ask by gRPC's `method` and fields, or by HTTP's verb and path, whose body has the same fields."""
        if isinstance(self._connection, GrpcConnection):
            return _ask_grpc(self._connection, method, fields)
        content, _ = self._connection.exchange(verb, path, json.dumps(fields).encode() if verb == "POST" else None)
        try:
            return json.loads(content or b"{}")  # type: ignore[no-any-return]
        except ValueError as error:
            raise EndpointError(
                f"{self._endpoint.url}{path}: the answer is not JSON: {content[:80].decode(errors='replace')}",
                hint="is this Triton's HTTP port?",
            ) from error


def _ask_grpc(connection: GrpcConnection, method: str, fields: Document) -> Document:
    from google.protobuf.json_format import MessageToDict
    from tritonclient.grpc import service_pb2

    request = getattr(service_pb2, f"{method}Request")(**fields)
    reply = getattr(service_pb2, f"{method}Response").FromString(connection.call(method, request.SerializeToString()))
    return MessageToDict(reply, preserving_proto_field_name=True)  # type: ignore[no-any-return]
