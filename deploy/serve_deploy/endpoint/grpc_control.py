"""The control plane over gRPC: the same documents as over HTTP."""

from __future__ import annotations

from typing import Any

from serve_deploy.endpoint.address import Endpoint
from serve_deploy.endpoint.grpc_channel import call_metadata, channel_credentials, channel_options
from serve_deploy.errors import EndpointError

Document = dict[str, Any]


class GrpcControlPlane:
    """Triton's gRPC endpoint, through tritonclient's messages."""

    def __init__(self, endpoint: Endpoint, timeout_seconds: float) -> None:
        import grpc
        from tritonclient.grpc import service_pb2, service_pb2_grpc

        self._endpoint = endpoint
        self._timeout_seconds = timeout_seconds
        self._messages = service_pb2
        self._rpc_error = grpc.RpcError
        if endpoint.is_encrypted:
            credentials = channel_credentials(endpoint.tls)
            self._channel = grpc.secure_channel(endpoint.authority, credentials, channel_options())
        else:
            self._channel = grpc.insecure_channel(endpoint.authority, channel_options())
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def server_metadata(self) -> Document:
        return self._ask("ServerMetadata", self._messages.ServerMetadataRequest())

    def model_metadata(self, model: str, version: str) -> Document:
        return self._ask("ModelMetadata", self._messages.ModelMetadataRequest(name=model, version=version))

    def model_config(self, model: str, version: str) -> Document:
        request = self._messages.ModelConfigRequest(name=model, version=version)
        config: Document = self._ask("ModelConfig", request).get("config", {})
        return config

    def statistics(self, model: str, version: str) -> list[Document]:
        request = self._messages.ModelStatisticsRequest(name=model, version=version)
        statistics: list[Document] = self._ask("ModelStatistics", request).get("model_stats", [])
        return statistics

    def repository_index(self) -> list[Document]:
        models: list[Document] = self._ask("RepositoryIndex", self._messages.RepositoryIndexRequest()).get("models", [])
        return models

    def register_shared_memory(self, region: str, key: str, size_bytes: int) -> None:
        request = self._messages.SystemSharedMemoryRegisterRequest(name=region, key=key, byte_size=size_bytes)
        self._ask("SystemSharedMemoryRegister", request)

    def unregister_shared_memory(self, region: str) -> None:
        self._ask("SystemSharedMemoryUnregister", self._messages.SystemSharedMemoryUnregisterRequest(name=region))

    def close(self) -> None:
        self._channel.close()

    def _ask(self, method: str, request: Any) -> Document:
        from google.protobuf.json_format import MessageToDict

        try:
            answer = getattr(self._stub, method)(
                request, timeout=self._timeout_seconds, metadata=call_metadata(self._endpoint)
            )
        except self._rpc_error as error:
            code, details = error.code().name, error.details()
            if code in ("UNAVAILABLE", "DEADLINE_EXCEEDED") and method == "ServerMetadata":
                raise EndpointError(
                    f"{self._endpoint.url}: cannot be reached: {details}",
                    hint="check the address, that it is Triton's gRPC port, and its certificate",
                ) from error
            raise EndpointError(f"{self._endpoint.url}: {details} ({code})") from error
        document: Document = MessageToDict(answer, preserving_proto_field_name=True)
        return document
