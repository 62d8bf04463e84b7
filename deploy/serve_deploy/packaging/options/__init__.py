"""What a user may decide about packaging a model, for each kind of it."""

from serve_deploy.packaging.options.frameworks import BackendParameter, FrameworkOptions
from serve_deploy.packaging.options.language_models import LanguageModelOptions, LoraAdapter
from serve_deploy.packaging.options.package import ONNX_RUNTIME_ONLY, PackageOptions
from serve_deploy.packaging.options.stateful import StatefulOptions

__all__ = [
    "ONNX_RUNTIME_ONLY",
    "BackendParameter",
    "FrameworkOptions",
    "LanguageModelOptions",
    "LoraAdapter",
    "PackageOptions",
    "StatefulOptions",
]
