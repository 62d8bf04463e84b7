"""What no schema sees: whether the objects of one release fit together. Every check yields sentences."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from chart_objects import Objects, Template, matches, pod_templates, select, strings

# Triton's metrics (docs/user_guide/metrics.md of 24.10); tests/charts/test_served.py holds them against a real server.
# Of Triton's vLLM and TensorRT-LLM backends, by their sources.
ENGINE_METRICS = {
    "vllm:time_to_first_token_seconds_sum", "vllm:time_to_first_token_seconds_count",
    "vllm:time_to_first_token_seconds_bucket", "vllm:time_per_output_token_seconds_sum",
    "vllm:time_per_output_token_seconds_bucket", "vllm:generation_tokens_total", "nv_trt_llm_request_metrics",
    "nv_trt_llm_kv_cache_block_metrics",
}  # fmt: skip
TRITON_METRICS = {
    "nv_inference_request_success", "nv_inference_request_failure", "nv_inference_count", "nv_inference_exec_count",
    "nv_inference_request_duration_us", "nv_inference_queue_duration_us", "nv_inference_compute_input_duration_us",
    "nv_inference_compute_infer_duration_us", "nv_inference_compute_output_duration_us",
    "nv_inference_pending_request_count", "nv_inference_request_summary_us", "nv_inference_queue_summary_us",
    "nv_inference_compute_input_summary_us", "nv_inference_compute_infer_summary_us",
    "nv_inference_compute_output_summary_us", "nv_gpu_utilization", "nv_gpu_memory_total_bytes",
    "nv_gpu_memory_used_bytes", "nv_gpu_power_usage", "nv_gpu_power_limit", "nv_energy_consumption",
    "nv_cpu_utilization", "nv_cpu_memory_total_bytes", "nv_cpu_memory_used_bytes", "nv_pinned_memory_pool_total_bytes",
    "nv_pinned_memory_pool_used_bytes", "nv_cache_num_hits_per_model", "nv_cache_num_misses_per_model",
    "nv_cache_hit_duration_per_model", "nv_cache_miss_duration_per_model", "nv_model_load_duration_secs",
}  # fmt: skip
_DNS_1035 = re.compile(r"^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$")
_LABEL = re.compile(r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")
_NOT_OURS = {"store", "registry", "download", "mpi", "admin", "models", "more", "azure-storage", "model-download",
             "triton-admin", "triton-mpi", "models-tls", "llm"}  # fmt: skip


def find_problems(objects: Objects) -> list[str]:
    """All problems of one rendered release."""
    return [problem for check in _CHECKS for problem in check(objects)]


def _identities(objects: Objects) -> Iterator[str]:
    names = Counter(
        (o["apiVersion"], o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects
    )
    yield from (f"made twice: {name}" for name, count in names.items() if count > 1)
    for item in objects:
        name, labels = item["metadata"]["name"], item["metadata"].get("labels", {})
        if not _DNS_1035.match(name):
            yield f"{item['kind']} has the name {name!r}"
        yield from (f"{name}: label {k}={v!r}" for k, v in labels.items() if not _LABEL.match(v))
        yield from (
            f"{name}: annotation {key} is no string"
            for key, value in item["metadata"].get("annotations", {}).items()
            if not isinstance(value, str)
        )


def _services(objects: Objects) -> Iterator[str]:
    templates = pod_templates(objects)
    for service in select(objects, "Service"):
        name, picked = service["metadata"]["name"], []
        picked = [each for each in templates if matches(each.labels, service["spec"]["selector"])]
        if len(picked) != 1 or not picked[0].serves:
            yield f"Service {name} selects {[each.owner['metadata']['name'] for each in picked]}"
            continue
        ports = _port_names(picked[0])
        for port in service["spec"]["ports"]:
            if port["targetPort"] not in ports:
                yield f"Service {name} leads to port {port['targetPort']}, pods have {ports}"


def _port_names(template: Template) -> set[str]:
    return {port["name"] for each in template.spec["containers"] for port in each.get("ports", [])}


def _pods(objects: Objects) -> Iterator[str]:
    for template in pod_templates(objects):
        spec, owner = template.spec, template.owner["metadata"]["name"]
        volumes = {volume["name"] for volume in spec.get("volumes", [])}
        for container in [*spec.get("initContainers", []), *spec["containers"]]:
            where = f"{owner}/{container['name']}"
            mounts = [mount["name"] for mount in container.get("volumeMounts", [])]
            yield from (f"{where} mounts {name}, which is no volume" for name in set(mounts) - volumes)
            paths = Counter(mount["mountPath"] for mount in container.get("volumeMounts", []))
            yield from (f"{where} mounts twice at {path}" for path, count in paths.items() if count > 1)
            yield from (f"{where}: {problem}" for problem in _resources(container))
            variables = {each["name"] for each in container.get("env", [])}
            text = " ".join([*container.get("args", []), *container.get("command", [])])
            yield from (
                f"{where} uses $({v}), which is not set"
                for v in re.findall(r"\$\(([A-Z_]+)\)", text)
                if v not in variables
            )
            claims = {each["name"] for each in container["resources"].get("claims", [])}
            yield from (
                f"{where} uses claim {name}, which the pod does not have"
                for name in claims - {each["name"] for each in spec.get("resourceClaims", [])}
            )
            if "$$" in text:
                yield f"{where}: Kubernetes turns $$ into $"
            names = {port["name"] for port in container.get("ports", [])}
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port", "http")
                if probe in container and port not in names:
                    yield f"{where}: {probe} asks port {port}"


def _resources(container: dict[str, Any]) -> Iterator[str]:
    requests, limits = container["resources"]["requests"], container["resources"]["limits"]
    for name, limit in limits.items():
        if name != "cpu" and requests.get(name) != limit:
            yield f"requests {requests.get(name)} of {name}, limit {limit}"
    if {"cpu", "memory"} - set(requests) or "memory" not in limits:
        yield "cpu or memory is not requested"


def _references(objects: Objects) -> Iterator[str]:
    made = {(item["kind"], item["metadata"]["name"]) for item in objects}
    for template in pod_templates(objects):
        owner, spec = template.owner["metadata"]["name"], template.spec
        wanted = {("ServiceAccount", spec["serviceAccountName"])} if "serviceAccountName" in spec else set()
        wanted |= {
            ("ResourceClaimTemplate", claim["resourceClaimTemplateName"]) for claim in spec.get("resourceClaims", [])
        }
        for volume in spec.get("volumes", []):
            if "configMap" in volume:
                wanted.add(("ConfigMap", volume["configMap"]["name"]))
            if "persistentVolumeClaim" in volume:
                wanted.add(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
            if "secret" in volume:
                wanted.add(("Secret", volume["secret"]["secretName"]))
        secrets_made = {("Secret", s["spec"]["target"]["name"]) for s in select(objects, "ExternalSecret")}
        for kind, name in wanted - made - secrets_made:
            if name not in {*_NOT_OURS, "default"}:
                yield f"{owner} uses {kind} {name}, which nobody makes"
    keys = {
        item["metadata"]["name"]: {**(item.get("data") or {}), **(item.get("binaryData") or {})}
        for item in select(objects, "ConfigMap")
    }
    for template in pod_templates(objects):
        for volume in template.spec.get("volumes", []):
            source = volume.get("configMap", {})
            yield from (
                f"{source['name']} has no key {item['key']}"
                for item in source.get("items", [])
                if item["key"] not in keys.get(source["name"], {})
            )


def _scaling(objects: Objects) -> Iterator[str]:
    targets = {(o["apiVersion"], o["kind"], o["metadata"]["name"]): o for o in objects}
    scalers = select(objects, "HorizontalPodAutoscaler", "ScaledObject")
    if len(scalers) > 1:
        yield "two autoscalers"
    for scaler in scalers:
        reference = scaler["spec"]["scaleTargetRef"]
        target = targets.get((reference["apiVersion"], reference["kind"], reference["name"]))
        if target is None:
            yield f"{scaler['metadata']['name']} scales {reference}, which does not exist"
            continue
        if "replicas" in target["spec"]:
            yield f"{reference['name']} has replicas of its own beside an autoscaler"
        names = {each["name"] for template in pod_templates([target]) for each in template.spec["containers"]}
        for metric in scaler["spec"].get("metrics", []):
            if metric["type"] == "ContainerResource" and metric["containerResource"]["container"] not in names:
                yield "the autoscaler measures a container that does not exist"
    services = {item["metadata"]["name"] for item in select(objects, "Service")}
    for group in select(objects, "LeaderWorkerSet"):
        if group["metadata"]["name"] in services:
            yield "the LeaderWorkerSet's own headless Service would have the name of another"
    if not scalers:
        yield from (
            f"{item['metadata']['name']} has no replicas and no autoscaler"
            for item in select(objects, "Deployment", "LeaderWorkerSet")
            if "replicas" not in item["spec"]
        )


def _lifecycle(objects: Objects) -> Iterator[str]:
    for template in pod_templates(objects):
        if not template.serves:
            continue
        container = template.spec["containers"][0]
        hook = container["lifecycle"]["preStop"]
        seconds = int(hook["sleep"]["seconds"] if "sleep" in hook else hook["exec"]["command"][1])
        text = " ".join([*container.get("args", []), *container.get("command", [])])
        exit_timeout = int(re.findall(r"--exit-timeout-secs=(\d+)", text)[0])
        if template.spec["terminationGracePeriodSeconds"] < seconds + exit_timeout + 10:
            yield f"grace period {template.spec['terminationGracePeriodSeconds']} < {seconds} + {exit_timeout} + 10"


def _disruption(objects: Objects) -> Iterator[str]:
    scalers = select(objects, "HorizontalPodAutoscaler", "ScaledObject")
    workload = select(objects, "Deployment", "LeaderWorkerSet")[0]
    spec = scalers[0]["spec"] if scalers else {"minReplicas": workload["spec"]["replicas"]}
    fewest = spec.get("minReplicas", spec.get("minReplicaCount"))
    for budget in select(objects, "PodDisruptionBudget"):
        if not any(each.serves and matches(each.labels, budget["spec"]["selector"]) for each in pod_templates(objects)):
            yield "the disruption budget selects no server"
        if budget["spec"]["maxUnavailable"] >= fewest:
            yield f"the disruption budget may take all {fewest} replicas"


def _network(objects: Objects) -> Iterator[str]:
    templates = pod_templates(objects)
    for policy in select(objects, "NetworkPolicy"):
        picked = [each for each in templates if matches(each.labels, policy["spec"]["podSelector"])]
        if not picked:
            yield f"NetworkPolicy {policy['metadata']['name']} selects no pod"
            continue
        names = set().union(*(_port_names(each) for each in picked))
        for rule in policy["spec"].get("ingress", []):
            for port in rule.get("ports", []):
                if isinstance(port["port"], str) and port["port"] not in names:
                    yield f"NetworkPolicy {policy['metadata']['name']} opens port {port['port']}"


def _monitors(objects: Objects) -> Iterator[str]:
    templates = pod_templates(objects)
    for monitor in select(objects, "PodMonitor", "PodMonitoring"):
        spec = monitor["spec"]
        picked = [each for each in templates if matches(each.labels, spec["selector"])]
        ends = spec.get("podMetricsEndpoints", spec.get("endpoints", []))
        if len(picked) != 1 or any(end["port"] not in _port_names(picked[0]) for end in ends):
            yield f"{monitor['kind']} finds no metrics port"
    for monitor in select(objects, "ServiceMonitor"):
        services = [
            s for s in select(objects, "Service") if matches(s["metadata"]["labels"], monitor["spec"]["selector"])
        ]
        ports = {port["name"] for service in services for port in service["spec"]["ports"]}
        if len(services) != 1 or monitor["spec"]["endpoints"][0]["port"] not in ports:
            yield f"ServiceMonitor finds {len(services)} services with ports {ports}"


def _routes(objects: Objects) -> Iterator[str]:
    services = {service["metadata"]["name"]: service["spec"]["ports"] for service in select(objects, "Service")}
    for route in select(objects, "HTTPRoute", "GRPCRoute"):
        backends = route["spec"]["rules"][0]["backendRefs"]
        if backends[0]["port"] not in [port["port"] for port in services.get(backends[0]["name"], [])]:
            yield f"{route['kind']} leads to {backends[0]}"
        if sum(backend["weight"] for backend in backends) != 100:
            yield f"{route['kind']}: weights {backends}"
    for ingress in select(objects, "Ingress"):
        for rule in ingress["spec"]["rules"]:
            backend = rule["http"]["paths"][0]["backend"]["service"]
            if backend["port"]["name"] not in [port["name"] for port in services.get(backend["name"], [])]:
                yield f"Ingress leads to {backend}"


def _policies(objects: Objects) -> Iterator[str]:
    routes = {(route["kind"], route["metadata"]["name"]) for route in select(objects, "HTTPRoute", "GRPCRoute")}
    for policy in select(objects, "BackendTrafficPolicy", "SecurityPolicy"):
        targets = {(target["kind"], target["name"]) for target in policy["spec"]["targetRefs"]}
        if targets != routes:
            yield f"{policy['kind']} applies to {sorted(targets)}, the routes are {sorted(routes)}"


def _metrics(objects: Objects) -> Iterator[str]:
    recorded = {
        rule["record"]
        for item in select(objects, "PrometheusRule")
        for group in item["spec"]["groups"]
        for rule in group["rules"]
        if "record" in rule
    }
    for item in objects:
        for text in strings(item):
            names = set(re.findall(r"\b(?:nv_|vllm:)[a-z0-9_]+", text)) - TRITON_METRICS - ENGINE_METRICS
            yield from (f"{item['kind']} uses {name}, which neither Triton nor an engine exposes" for name in names)
            if item["kind"] == "PrometheusRule":
                unknown = set(re.findall(r"\btriton:[a-z0-9_]+", text)) - recorded
                yield from (f"{name} is not recorded" for name in unknown)
            if re.search(r"__[A-Z_]+__", text):
                yield f"{item['kind']} has a placeholder left: {text[:80]}"


_CHECKS: tuple[Callable[[Objects], Iterator[str]], ...] = (
    _identities, _services, _pods, _references, _scaling, _lifecycle, _disruption, _network, _monitors, _routes,
    _policies, _metrics,
)  # fmt: skip
