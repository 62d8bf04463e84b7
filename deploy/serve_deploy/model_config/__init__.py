"""Triton's model configuration: derive it from a signature, check it, print it, read it."""

from serve_deploy.model_config.build import build_model_config
from serve_deploy.model_config.ensemble_requests import note_ensemble_requests, note_partial_requests
from serve_deploy.model_config.options import ConfigOptions, QueuePolicy, VersionPolicy, parse_version_policy
from serve_deploy.model_config.pbtxt import (
    CONFIG_NAME,
    CONFIGS_FOLDER,
    format_config,
    named_config_path,
    parse_config,
)
from serve_deploy.model_config.problem import Problem, is_ensemble, is_onnx
from serve_deploy.model_config.reasons import explain_config
from serve_deploy.model_config.rules.ensembles import check_ensemble_members
from serve_deploy.model_config.rules.rules import check_config
from serve_deploy.model_config.rules.tensors import check_against_model

__all__ = [
    "CONFIGS_FOLDER",
    "CONFIG_NAME",
    "ConfigOptions",
    "Problem",
    "QueuePolicy",
    "VersionPolicy",
    "build_model_config",
    "check_against_model",
    "check_config",
    "check_ensemble_members",
    "explain_config",
    "format_config",
    "is_ensemble",
    "is_onnx",
    "named_config_path",
    "note_ensemble_requests",
    "note_partial_requests",
    "parse_config",
    "parse_version_policy",
]
