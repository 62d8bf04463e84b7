"""`serve package`: from model files to a model repository that Triton serves correctly."""

from __future__ import annotations

from pathlib import Path

from serve_cli import output, package_report
from serve_cli import package_options as asked
from serve_cli.options import DryRun, Force, Json, Release


def package(
    models: asked.Models,
    output_folder: asked.Output = Path("models"),
    name: asked.Name = None,
    version: asked.Version = "1",
    triton: Release = None,
    fix: asked.Fix = False,
    max_batch_size: asked.MaxBatchSize = None,
    samples: asked.Samples = None,
    no_verify: asked.NoVerify = False,
    runtime: asked.Runtime = None,
    labels: asked.Labels = None,
    cpu: asked.Cpu = False,
    gpu: asked.Gpu = None,
    instances: asked.Instances = 1,
    threads: asked.Threads = None,
    parallel_threads: asked.ParallelThreads = None,
    optimize: asked.Optimize = None,
    no_warmup: asked.NoWarmup = False,
    response_cache: asked.ResponseCache = False,
    version_policy: asked.VersionPolicy = None,
    max_queue_delay: asked.QueueDelay = 0,
    preferred_batch_size: asked.PreferredBatchSizes = None,
    preserve_ordering: asked.PreserveOrdering = False,
    queue_timeout: asked.QueueTimeout = None,
    timeout_action: asked.TimeoutAction = None,
    timeout_override: asked.TimeoutOverride = False,
    max_queue_size: asked.QueueSize = None,
    priority_levels: asked.PriorityLevels = 0,
    default_priority: asked.DefaultPriority = None,
    force: Force = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Write a Triton model repository from ONNX files, prove its numbers, and show that Triton serves it correctly.

    \b
    serve package digits.onnx
    serve package digits.onnx -o models --samples images.npz --version next
    serve package detector.onnx --max-batch-size 16 --optimize tensorrt:fp16 --no-verify
    """
    from serve_deploy.model_config import ConfigOptions, parse_version_policy
    from serve_deploy.model_config.optimization import parse_optimization
    from serve_deploy.packaging.options import PackageOptions
    from serve_deploy.packaging.pipeline import package as package_models

    kind, gpus = asked.read_devices(cpu, gpu)
    config = ConfigOptions(
        max_queue_delay_us=max_queue_delay,
        preferred_batch_sizes=asked.read_numbers("--preferred-batch-size", preferred_batch_size),
        instances=instances,
        kind=kind,
        gpus=gpus,
        threads=threads,
        parallel_threads=parallel_threads,
        optimization=parse_optimization(optimize) if optimize else None,
        queue_policy=asked.read_queue_policy(queue_timeout, timeout_action, timeout_override, max_queue_size),
        priority_levels=priority_levels,
        default_priority_level=default_priority or 0,
        preserve_ordering=preserve_ordering,
        response_cache=response_cache,
        version_policy=parse_version_policy(version_policy) if version_policy else None,
    )
    options = PackageOptions(
        repository=output_folder,
        name=name,
        version=asked.read_version(version),
        max_batch_size=max_batch_size,
        samples=samples,
        labels=labels,
        fix=fix,
        force=force,
        verify=not no_verify,
        warmup=not no_warmup,
        runtime=asked.read_runtime(runtime),
        dry_run=dry_run,
        config=config,
        **({"release": triton} if triton else {}),
    )
    with output.progress() as progress:
        summary = package_models(models, options, progress=progress)
    output.emit(summary, as_json=json, render=package_report.print_summary)
    package_report.conclude(summary)
