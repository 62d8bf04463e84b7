"""From a model file to a measured, autoscaled Triton deployment.

What the command line does, by the same names: each operation takes one frozen options object and returns one frozen
result. Names are loaded when they are first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from serve_deploy.version import __version__ as __version__

if TYPE_CHECKING:
    from serve_deploy.arrivals.shapes import ClosedLoop as ClosedLoop
    from serve_deploy.arrivals.shapes import ConstantRate as ConstantRate
    from serve_deploy.arrivals.shapes import PoissonRate as PoissonRate
    from serve_deploy.arrivals.shapes import Ramp as Ramp
    from serve_deploy.arrivals.shapes import Replay as Replay
    from serve_deploy.chart.options import ChartOptions as ChartOptions
    from serve_deploy.chart.write import WrittenChart as WrittenChart
    from serve_deploy.chart.write import write_chart as write_chart
    from serve_deploy.checking.options import CheckOptions as CheckOptions
    from serve_deploy.checking.repository_check import CheckedModel as CheckedModel
    from serve_deploy.checking.repository_check import RepositoryCheck as RepositoryCheck
    from serve_deploy.checking.repository_check import check_repository as check  # noqa: F401
    from serve_deploy.checking.store_check import StoreCheck as StoreCheck
    from serve_deploy.checking.store_check import check_store as check_store
    from serve_deploy.cluster.changes.deployment import Deployment as Deployment
    from serve_deploy.cluster.changes.deployment import deploy as deploy
    from serve_deploy.cluster.changes.removal import Removal as Removal
    from serve_deploy.cluster.changes.removal import undeploy as undeploy
    from serve_deploy.cluster.changes.rollback import Rollback as Rollback
    from serve_deploy.cluster.changes.rollback import rollback as rollback
    from serve_deploy.cluster.options import DeployOptions as DeployOptions
    from serve_deploy.cluster.options import FleetOptions as FleetOptions
    from serve_deploy.cluster.options import LogOptions as LogOptions
    from serve_deploy.cluster.options import RollbackOptions as RollbackOptions
    from serve_deploy.cluster.options import StatusOptions as StatusOptions
    from serve_deploy.cluster.options import UndeployOptions as UndeployOptions
    from serve_deploy.cluster.state.fleet import Fleet as Fleet
    from serve_deploy.cluster.state.fleet import read_fleet as read_fleet
    from serve_deploy.cluster.state.logs import LogLine as LogLine
    from serve_deploy.cluster.state.logs import read_logs as read_logs
    from serve_deploy.cluster.state.release import ReleaseState as ReleaseState
    from serve_deploy.cluster.state.release import read_status as read_status
    from serve_deploy.cluster.state.release import watch_status as watch_status
    from serve_deploy.endpoint.address import Endpoint as Endpoint
    from serve_deploy.endpoint.address import TlsOptions as TlsOptions
    from serve_deploy.endpoint.address import parse_endpoint as parse_endpoint
    from serve_deploy.endpoint.model import ModelState as ModelState
    from serve_deploy.errors import DestinationError as DestinationError
    from serve_deploy.errors import EndpointError as EndpointError
    from serve_deploy.errors import Interrupted as Interrupted
    from serve_deploy.errors import InvalidModelError as InvalidModelError
    from serve_deploy.errors import ServeError as ServeError
    from serve_deploy.errors import ThresholdError as ThresholdError
    from serve_deploy.errors import TritonStartError as TritonStartError
    from serve_deploy.errors import UsageError as UsageError
    from serve_deploy.errors import VerificationError as VerificationError
    from serve_deploy.exporters.export import ExportedModel as ExportedModel
    from serve_deploy.exporters.export import export_model as export_model
    from serve_deploy.inference.options import InferenceOptions as InferenceOptions
    from serve_deploy.inference.ranking import ClassScore as ClassScore
    from serve_deploy.inference.request import InferenceOutput as InferenceOutput
    from serve_deploy.inference.request import InferenceResult as InferenceResult
    from serve_deploy.inference.request import infer as infer
    from serve_deploy.inference.request import save_outputs as save_outputs
    from serve_deploy.language_models.engine_arguments import EngineArgument as EngineArgument
    from serve_deploy.live_models.models import read_models as read_models
    from serve_deploy.live_models.models import watch_models as watch_models
    from serve_deploy.live_models.options import ModelsOptions as ModelsOptions
    from serve_deploy.live_models.served import ServedModels as ServedModels
    from serve_deploy.live_models.served import ServedVersion as ServedVersion
    from serve_deploy.loadtest import run_loadtest as run_loadtest
    from serve_deploy.loadtest import run_mixed_loadtest as run_mixed_loadtest
    from serve_deploy.loadtest import split_load as split_load
    from serve_deploy.loadtest.options import GenerationOptions as GenerationOptions
    from serve_deploy.loadtest.options import LoadTestOptions as LoadTestOptions
    from serve_deploy.loadtest.options import MixOptions as MixOptions
    from serve_deploy.loadtest.options import Search as Search
    from serve_deploy.manifest import FrameworkModel as FrameworkModel
    from serve_deploy.manifest import LanguageModel as LanguageModel
    from serve_deploy.manifest import Manifest as Manifest
    from serve_deploy.manifest import StateProof as StateProof
    from serve_deploy.manifest import read_manifest as read_manifest
    from serve_deploy.model_config.options import ConfigOptions as ConfigOptions
    from serve_deploy.model_config.options import QueuePolicy as QueuePolicy
    from serve_deploy.model_config.options import VersionPolicy as VersionPolicy
    from serve_deploy.model_config.problem import Problem as Problem
    from serve_deploy.origin import Origin as Origin
    from serve_deploy.packaging.options import BackendParameter as BackendParameter
    from serve_deploy.packaging.options import FrameworkOptions as FrameworkOptions
    from serve_deploy.packaging.options import LanguageModelOptions as LanguageModelOptions
    from serve_deploy.packaging.options import LoraAdapter as LoraAdapter
    from serve_deploy.packaging.options import PackageOptions as PackageOptions
    from serve_deploy.packaging.options import StatefulOptions as StatefulOptions
    from serve_deploy.packaging.package import package as package
    from serve_deploy.packaging.packaged import FailedModel as FailedModel
    from serve_deploy.packaging.packaged import PackagedModel as PackagedModel
    from serve_deploy.packaging.packaged import PackageSummary as PackageSummary
    from serve_deploy.pipelines.options import PipelineOptions as PipelineOptions
    from serve_deploy.pipelines.pipeline import pipeline as pipeline
    from serve_deploy.pipelines.result import PipelineMember as PipelineMember
    from serve_deploy.pipelines.result import WrittenPipeline as WrittenPipeline
    from serve_deploy.planning.arrival_traces import Trace as Trace
    from serve_deploy.planning.arrival_traces import read_trace as read_trace
    from serve_deploy.planning.options import PlanOptions as PlanOptions
    from serve_deploy.planning.options import ProfileSweep as ProfileSweep
    from serve_deploy.planning.plan import plan as plan
    from serve_deploy.planning.prices import Prices as Prices
    from serve_deploy.planning.prices import read_prices as read_prices
    from serve_deploy.planning.result import DeploymentPlan as DeploymentPlan
    from serve_deploy.planning.saved import ChosenPlan as ChosenPlan
    from serve_deploy.planning.saved import read_plan as read_plan
    from serve_deploy.prompts.lengths import TokenLengths as TokenLengths
    from serve_deploy.prompts.options import PromptOptions as PromptOptions
    from serve_deploy.pruning.options import PruneOptions as PruneOptions
    from serve_deploy.pruning.prune import PruneResult as PruneResult
    from serve_deploy.pruning.prune import prune as prune
    from serve_deploy.python_models.function_file import read_function_file as read_function_file
    from serve_deploy.python_models.model import PythonModel as PythonModel
    from serve_deploy.python_models.standard_steps import standard_step as standard_step
    from serve_deploy.rendering import render as render_report  # noqa: F401
    from serve_deploy.rendering.saved_reports import write_report as write_report
    from serve_deploy.reports.generation import Generation as Generation
    from serve_deploy.reports.judging import judge as judge
    from serve_deploy.reports.judging import require_passed as require_passed
    from serve_deploy.reports.options import JudgingOptions as JudgingOptions
    from serve_deploy.reports.point import GateResult as GateResult
    from serve_deploy.reports.point import Point as Point
    from serve_deploy.reports.report import LoadTestReport as LoadTestReport
    from serve_deploy.reports.report import ReportSet as ReportSet
    from serve_deploy.reports.saved_reports import read_report as read_report
    from serve_deploy.reports.saved_reports import read_reports as read_reports
    from serve_deploy.repository_changes.comparison import RepositoryChanges as RepositoryChanges
    from serve_deploy.repository_changes.comparison import compare_repositories as diff  # noqa: F401
    from serve_deploy.repository_changes.options import DiffOptions as DiffOptions
    from serve_deploy.stores.address import StoreAddress as StoreAddress
    from serve_deploy.stores.address import parse_address as parse_address
    from serve_deploy.stores.listing import ListedSnapshot as ListedSnapshot
    from serve_deploy.stores.listing import Snapshots as Snapshots
    from serve_deploy.stores.listing import read_snapshots as read_snapshots
    from serve_deploy.stores.options import PullOptions as PullOptions
    from serve_deploy.stores.options import PushOptions as PushOptions
    from serve_deploy.stores.options import SigningOptions as SigningOptions
    from serve_deploy.stores.options import SnapshotsOptions as SnapshotsOptions
    from serve_deploy.stores.options import TrustOptions as TrustOptions
    from serve_deploy.stores.pull.cache import pull_into_cache as pull_into_cache
    from serve_deploy.stores.pull.pull import PullResult as PullResult
    from serve_deploy.stores.pull.pull import pull_repository as pull  # noqa: F401
    from serve_deploy.stores.push.push import push_repository as push  # noqa: F401
    from serve_deploy.stores.push.pushed import PushResult as PushResult
    from serve_deploy.stores.signing.trust import SignatureError as SignatureError
    from serve_deploy.stores.signing.trust import open_trust as open_trust
    from serve_deploy.triton.options import ServerOptions as ServerOptions
    from serve_deploy.triton.server import ServerStatus as ServerStatus
    from serve_deploy.triton.server import TritonServer as TritonServer
    from serve_deploy.triton.server import start_server as start_server
    from serve_deploy.tuning.results.result import TuningResult as TuningResult
    from serve_deploy.tuning.task.options import TuneOptions as TuneOptions
    from serve_deploy.tuning.tune import tune as tune
    from serve_deploy.twin.results import Simulated as Simulated
    from serve_deploy.twin.server import Batching as Batching
    from serve_deploy.twin.server import ServedModel as ServedModel
    from serve_deploy.twin.server import ServerModel as ServerModel
    from serve_deploy.twin.simulation import simulate as simulate
    from serve_deploy.twin.times import ServiceTimes as ServiceTimes

# ONNX Runtime on Linux reports to its maker unless this is set before its import; models are their owners' business.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# Public name → where it stands, and what it is called there if that differs.
_PLACES = {
    "BackendParameter": "packaging.options",
    "Batching": "twin.server",
    "ChartOptions": "chart.options",
    "CheckOptions": "checking.options",
    "CheckedModel": "checking.repository_check",
    "ChosenPlan": "planning.saved",
    "ClassScore": "inference.ranking",
    "ClosedLoop": "arrivals.shapes",
    "ConfigOptions": "model_config.options",
    "ConstantRate": "arrivals.shapes",
    "DeployOptions": "cluster.options",
    "Deployment": "cluster.changes.deployment",
    "DeploymentPlan": "planning.result",
    "DestinationError": "errors",
    "DiffOptions": "repository_changes.options",
    "Endpoint": "endpoint.address",
    "EndpointError": "errors",
    "EngineArgument": "language_models.engine_arguments",
    "ExportedModel": "exporters.export",
    "FailedModel": "packaging.packaged",
    "Fleet": "cluster.state.fleet",
    "FleetOptions": "cluster.options",
    "FrameworkModel": "manifest",
    "FrameworkOptions": "packaging.options",
    "GateResult": "reports.point",
    "Generation": "reports.generation",
    "GenerationOptions": "loadtest.options",
    "InferenceOptions": "inference.options",
    "InferenceOutput": "inference.request",
    "InferenceResult": "inference.request",
    "Interrupted": "errors",
    "InvalidModelError": "errors",
    "JudgingOptions": "reports.options",
    "LanguageModel": "manifest",
    "LanguageModelOptions": "packaging.options",
    "ListedSnapshot": "stores.listing",
    "LoadTestOptions": "loadtest.options",
    "LoadTestReport": "reports.report",
    "LogLine": "cluster.state.logs",
    "LogOptions": "cluster.options",
    "LoraAdapter": "packaging.options",
    "Manifest": "manifest",
    "MixOptions": "loadtest.options",
    "ModelState": "endpoint.model",
    "ModelsOptions": "live_models.options",
    "Origin": "origin",
    "PackageOptions": "packaging.options",
    "PackageSummary": "packaging.packaged",
    "PackagedModel": "packaging.packaged",
    "PipelineMember": "pipelines.result",
    "PipelineOptions": "pipelines.options",
    "PlanOptions": "planning.options",
    "Point": "reports.point",
    "PoissonRate": "arrivals.shapes",
    "Prices": "planning.prices",
    "Problem": "model_config.problem",
    "ProfileSweep": "planning.options",
    "PromptOptions": "prompts.options",
    "PruneOptions": "pruning.options",
    "PruneResult": "pruning.prune",
    "PullOptions": "stores.options",
    "PullResult": "stores.pull.pull",
    "PushOptions": "stores.options",
    "PushResult": "stores.push.pushed",
    "PythonModel": "python_models.model",
    "QueuePolicy": "model_config.options",
    "Ramp": "arrivals.shapes",
    "ReleaseState": "cluster.state.release",
    "Removal": "cluster.changes.removal",
    "Replay": "arrivals.shapes",
    "ReportSet": "reports.report",
    "RepositoryChanges": "repository_changes.comparison",
    "RepositoryCheck": "checking.repository_check",
    "Rollback": "cluster.changes.rollback",
    "RollbackOptions": "cluster.options",
    "Search": "loadtest.options",
    "ServeError": "errors",
    "ServedModel": "twin.server",
    "ServedModels": "live_models.served",
    "ServedVersion": "live_models.served",
    "ServerModel": "twin.server",
    "ServerOptions": "triton.options",
    "ServerStatus": "triton.server",
    "ServiceTimes": "twin.times",
    "SignatureError": "stores.signing.trust",
    "SigningOptions": "stores.options",
    "Simulated": "twin.results",
    "Snapshots": "stores.listing",
    "SnapshotsOptions": "stores.options",
    "StateProof": "manifest",
    "StatefulOptions": "packaging.options",
    "StatusOptions": "cluster.options",
    "StoreAddress": "stores.address",
    "StoreCheck": "checking.store_check",
    "ThresholdError": "errors",
    "TlsOptions": "endpoint.address",
    "TokenLengths": "prompts.lengths",
    "Trace": "planning.arrival_traces",
    "TritonServer": "triton.server",
    "TritonStartError": "errors",
    "TrustOptions": "stores.options",
    "TuneOptions": "tuning.task.options",
    "TuningResult": "tuning.results.result",
    "UndeployOptions": "cluster.options",
    "UsageError": "errors",
    "VerificationError": "errors",
    "VersionPolicy": "model_config.options",
    "WrittenChart": "chart.write",
    "WrittenPipeline": "pipelines.result",
    "check": "checking.repository_check:check_repository",
    "check_store": "checking.store_check",
    "deploy": "cluster.changes.deployment",
    "diff": "repository_changes.comparison:compare_repositories",
    "export_model": "exporters.export",
    "infer": "inference.request",
    "judge": "reports.judging",
    "open_trust": "stores.signing.trust",
    "package": "packaging.package",
    "parse_address": "stores.address",
    "parse_endpoint": "endpoint.address",
    "pipeline": "pipelines.pipeline",
    "plan": "planning.plan",
    "prune": "pruning.prune:prune",
    "pull": "stores.pull.pull:pull_repository",
    "pull_into_cache": "stores.pull.cache",
    "push": "stores.push.push:push_repository",
    "read_fleet": "cluster.state.fleet",
    "read_function_file": "python_models.function_file",
    "read_logs": "cluster.state.logs",
    "read_manifest": "manifest",
    "read_models": "live_models.models",
    "read_plan": "planning.saved",
    "read_prices": "planning.prices",
    "read_report": "reports.saved_reports",
    "read_reports": "reports.saved_reports",
    "read_snapshots": "stores.listing",
    "read_status": "cluster.state.release",
    "read_trace": "planning.arrival_traces",
    "render_report": "rendering:render",
    "require_passed": "reports.judging",
    "rollback": "cluster.changes.rollback",
    "run_loadtest": "loadtest",
    "run_mixed_loadtest": "loadtest",
    "save_outputs": "inference.request",
    "simulate": "twin.simulation",
    "split_load": "loadtest",
    "standard_step": "python_models.standard_steps",
    "start_server": "triton.server",
    "tune": "tuning.tune",
    "undeploy": "cluster.changes.removal",
    "watch_models": "live_models.models",
    "watch_status": "cluster.state.release",
    "write_chart": "chart.write",
    "write_report": "rendering.saved_reports",
}
__all__ = sorted(_PLACES)  # noqa: PLE0605 - a list


def __getattr__(name: str) -> Any:
    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'serve_deploy' has no attribute '{name}'")
    module, _, attribute = place.partition(":")
    value = getattr(import_module(f"serve_deploy.{module}"), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
