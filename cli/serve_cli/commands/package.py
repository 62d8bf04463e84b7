"""`serve package`: from model files to a model repository that Triton serves correctly."""

from __future__ import annotations

from typing import Annotated

import typer

from serve_cli import output, package_report
from serve_cli.options import Json
from serve_cli.taking import takes_options
from serve_deploy.packaging.options import PackageOptions

Models = Annotated[
    list[str],
    typer.Argument(
        metavar="MODEL",
        help="ONNX files, models of other frameworks; functions, PyTorch modules and scikit-learn estimators as "
        "FILE.py:NAME; models:/NAME/VERSION of MLflow, hf://ORG/MODEL of the hub; with --backend a checkpoint's "
        "folder or hub ID.",
        show_default=False,
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the evidence for each number.")]


@takes_options(
    flags={
        "repository": ("--output", "-o"),
        "release": "--triton",
        "optimization": "--optimize",
        "default_priority_level": "--default-priority",
        "profiles": "--for",
        "checkpoint_config": "--model-config",
        "engine_arguments": "--engine-arg",
        "parameters": "--parameter",
    },
)
def package(models: Models, options: PackageOptions, verbose: Verbose = False, json: Json = False) -> None:
    """Write a Triton model repository from model files, prove its numbers, and show that Triton serves it correctly.

    \b
    serve package digits.onnx
    serve package digits.onnx -o models --samples images.npz --version next
    serve package detector.onnx --max-batch-size 16 --optimize tensorrt:fp16 --no-verify
    serve package model.pt --signature 'x FP32 [-1,4] -> y FP32 [-1,2]' --max-batch-size 8
    serve package forest.ubj resnet.savedmodel encoder.xml
    serve package meta-llama/Llama-3.1-8B --backend vllm --gpu-profile l4
    serve package post.py:labels --samples texts.npz
    serve package net.py:model --samples images.npz
    serve package digits.onnx --for l4,h100-nvl,cpu
    serve package digits.onnx -o s3://bucket/models --version next
    serve package models:/digits@champion hf://org/resnet50/onnx/model.onnx
    """
    from serve_deploy.packaging.package import package as package_models

    with output.progress() as progress:
        summary = package_models(models, options, progress=progress)
    output.emit(summary, as_json=json, render=lambda summary: package_report.print_summary(summary, verbose=verbose))
    package_report.conclude(summary)
