"""What a user may decide about packaging a model of another framework than ONNX."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from serve_deploy.errors import UsageError
from serve_deploy.option import Option

_FRAMEWORKS = "Other frameworks"


@dataclass(frozen=True)
class BackendParameter:
    """A parameter of the backend, as config.pbtxt has it."""

    name: str
    value: str


def read_parameter(text: str) -> BackendParameter:
    """Read `name=value`; UsageError where it is none."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UsageError(f"`parameters={text}` is not NAME=VALUE", hint="for example predict_proba=false")
    return BackendParameter(name, value)


def _read_signature(text: str) -> str:
    from serve_deploy.frameworks.given_signature import parse_signature

    parse_signature(text)
    return text


@dataclass(frozen=True, kw_only=True)
class FrameworkOptions:
    """Tensors that the model's file does not tell, and what its backend is told beside them."""

    signature: Annotated[
        str | None,
        Option(
            "The tensors, or those of them that the file does not tell.",
            metavar="'x FP32 [-1,4] -> y FP32 [-1,2]'",
            group=_FRAMEWORKS,
            read=_read_signature,
        ),
    ] = None
    parameters: Annotated[
        tuple[BackendParameter, ...],
        Option("A parameter of the backend; repeatable.", metavar="NAME=VALUE", group=_FRAMEWORKS, read=read_parameter),
    ] = ()

    @property
    def named_parameters(self) -> dict[str, str]:
        """The parameters by name; the last of a name counts."""
        return {parameter.name: parameter.value for parameter in self.parameters}
