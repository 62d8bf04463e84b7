{{/* Refuse what cannot work, with every reason at once. Renders nothing. */}}
{{- define "triton.validate" -}}
{{- $problems := list -}}
{{- range list "lifecycle" "scaling" "repository" "gpu" "traffic" -}}
{{- $problems = concat $problems (include (printf "triton.validate.%s" .) $ | fromJsonArray) -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "these values cannot work:\n- %s" (join "\n- " $problems)) -}}
{{- end -}}
{{- end -}}

{{- define "triton.validate.lifecycle" -}}
{{- $problems := list -}}
{{- $lifecycle := .Values.lifecycle -}}
{{- $needed := add $lifecycle.preStopSeconds $lifecycle.exitTimeoutSeconds $lifecycle.marginSeconds | int -}}
{{- if not (kindIs "invalid" $lifecycle.terminationGracePeriodSeconds) -}}
{{- if lt (int $lifecycle.terminationGracePeriodSeconds) $needed -}}
{{- $problems = append $problems (printf "lifecycle.terminationGracePeriodSeconds is %d, but preStopSeconds %d + exitTimeoutSeconds %d + marginSeconds %d need %d: requests in flight would be cut off" (int $lifecycle.terminationGracePeriodSeconds) (int $lifecycle.preStopSeconds) (int $lifecycle.exitTimeoutSeconds) (int $lifecycle.marginSeconds) $needed) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.multiNode.enabled (not $lifecycle.rollingUpdate.spareCapacity) (hasSuffix "%" (include "triton.atOnce" .)) -}}
{{- $problems = append $problems (printf "lifecycle.rollingUpdate.atOnce is %s, but a LeaderWorkerSet without spareCapacity rounds a share down, to none where there are few groups; give a number" (include "triton.atOnce" .)) -}}
{{- end -}}
{{- $fewest := include "triton.fewestReplicas" . | int -}}
{{- if and .Values.podDisruptionBudget.enabled (ge $fewest 2) (ge (int .Values.podDisruptionBudget.maxUnavailable) $fewest) -}}
{{- $problems = append $problems (printf "podDisruptionBudget.maxUnavailable is %d of %d replicas: a drain could take all of them; take less than %d" (int .Values.podDisruptionBudget.maxUnavailable) $fewest $fewest) -}}
{{- end -}}
{{- $problems | toJson -}}
{{- end -}}

{{- define "triton.validate.scaling" -}}
{{- $problems := list -}}
{{- $scaling := .Values.autoscaling -}}
{{- $mode := include "triton.autoscalingMode" . -}}
{{- if ne $mode "off" -}}
{{- if gt (int $scaling.minReplicas) (int $scaling.maxReplicas) -}}
{{- $problems = append $problems (printf "autoscaling.minReplicas %d exceeds autoscaling.maxReplicas %d" (int $scaling.minReplicas) (int $scaling.maxReplicas)) -}}
{{- end -}}
{{- if and (eq (int $scaling.minReplicas) 0) (or (ne $mode "keda") (not $scaling.scaleToZero.upstreamTrigger)) -}}
{{- $problems = append $problems "autoscaling.minReplicas is 0: replicas that do not run report no metric, so nothing would ever start one; use autoscaling.mode keda with autoscaling.scaleToZero.upstreamTrigger (a signal from outside the pods), or at least 1" -}}
{{- end -}}
{{- if and (eq $mode "keda") (ne $scaling.metrics.source "triggers") (not $scaling.prometheus.serverAddress) -}}
{{- $problems = append $problems "autoscaling.prometheus.serverAddress is empty, but autoscaling.mode keda reads its metrics there (such as http://prometheus-operated.monitoring:9090)" -}}
{{- end -}}
{{- if and (eq $mode "keda") (eq $scaling.metrics.source "cpu") -}}
{{- $problems = append $problems "autoscaling.metrics.source cpu needs autoscaling.mode hpa: for CPU alone KEDA adds nothing" -}}
{{- end -}}
{{- if and (eq $scaling.metrics.source "triggers") (or (ne $mode "keda") (not $scaling.keda.triggers)) -}}
{{- $problems = append $problems "autoscaling.metrics.source triggers needs autoscaling.mode keda and autoscaling.keda.triggers: nothing else would tell the load" -}}
{{- end -}}
{{- $decoupled := $scaling.metrics.decoupled -}}
{{- if and (has $decoupled.exporter (list "gauge" "seconds")) (not $decoupled.metric) -}}
{{- $problems = append $problems (printf "autoscaling.metrics.decoupled.exporter %s needs the name of your metric in autoscaling.metrics.decoupled.metric" $decoupled.exporter) -}}
{{- end -}}
{{- if and $decoupled.metric (not (has $decoupled.exporter (list "gauge" "seconds"))) -}}
{{- $problems = append $problems (printf "autoscaling.metrics.decoupled.metric %s has no effect unless autoscaling.metrics.decoupled.exporter is gauge or seconds" $decoupled.metric) -}}
{{- end -}}
{{- end -}}
{{- $problems | toJson -}}
{{- end -}}

{{- define "triton.validate.repository" -}}
{{- $problems := list -}}
{{- $repository := .Values.modelRepository -}}
{{- $source := $repository.source -}}
{{- $schemes := dict "s3" "s3://" "gcs" "gs://" "azure" "as://" -}}
{{- if hasKey $schemes $source -}}
{{- if not (hasPrefix (get $schemes $source) $repository.uri) -}}
{{- $problems = append $problems (printf "modelRepository.uri is %q, but modelRepository.source %s needs one that begins with %s" $repository.uri $source (get $schemes $source)) -}}
{{- end -}}
{{- else if $repository.uri -}}
{{- $problems = append $problems (printf "modelRepository.uri is %q, but modelRepository.source is %s; make the source s3, gcs or azure" $repository.uri $source) -}}
{{- end -}}
{{- if eq $repository.layout "snapshots" -}}
{{- if not (has $source (list "s3" "gcs" "azure" "pvc")) -}}
{{- $problems = append $problems (printf "modelRepository.layout is snapshots, but modelRepository.source is %s: only s3, gcs, azure and pvc can be a store of snapshots" $source) -}}
{{- else if not (regexMatch "^[0-9a-f]{16}$" $repository.revision) -}}
{{- $problems = append $problems (printf "modelRepository.revision is %q, but with modelRepository.layout snapshots it is a snapshot's ID: 16 digits and letters a to f, as serve snapshots lists them" $repository.revision) -}}
{{- end -}}
{{- end -}}
{{- if and (eq $source "oci") (not $repository.oci.reference) -}}
{{- $problems = append $problems "modelRepository.oci.reference is empty, but modelRepository.source is oci" -}}
{{- end -}}
{{- if and (eq $source "oci") (eq $repository.oci.method "volume") (semverCompare "<1.31-0" (include "triton.kubeVersion" .)) -}}
{{- $problems = append $problems (printf "modelRepository.oci.method is volume, but Kubernetes %s has no image volumes (they came with 1.31); use copy" (include "triton.kubeVersion" .)) -}}
{{- end -}}
{{- if and (eq $source "http") (not $repository.http.url) -}}
{{- $problems = append $problems "modelRepository.http.url is empty, but modelRepository.source is http" -}}
{{- end -}}
{{- if and (eq $source "carried") (eq (include "triton.carriedModels" .) "[]") -}}
{{- $problems = append $problems (printf "modelRepository.carried.path %s contains no file of this chart" $repository.carried.path) -}}
{{- end -}}
{{- if and (eq $source "carried") .Values.models.load -}}
{{- $carried := include "triton.carriedModels" . | fromJsonArray -}}
{{- range .Values.models.load -}}
{{- if not (has . $carried) -}}
{{- $problems = append $problems (printf "models.load names %s, which the chart does not carry (it carries %s)" . (join ", " $carried)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq (include "triton.controlMode" .) "explicit") (not .Values.models.load) (not .Values.compatibility.sageMakerMultiModel) -}}
{{- $problems = append $problems "server.controlMode is explicit, but models.load names no model: nothing would be served" -}}
{{- end -}}
{{- if and .Values.server.modelConfigName (eq (include "triton.isOld" .) "true") -}}
{{- $problems = append $problems (printf "server.modelConfigName is %s, but Triton %s does not have --model-config-name (24.05 added it)" .Values.server.modelConfigName (.Values.image.tag | default .Chart.AppVersion)) -}}
{{- end -}}
{{- if and (eq (include "triton.controlMode" .) "none") .Values.models.load -}}
{{- $problems = append $problems "server.controlMode is none, so models.load would have no effect; leave controlMode at auto" -}}
{{- end -}}
{{- if and .Values.externalSecret.enabled (or (not .Values.externalSecret.store) (not .Values.externalSecret.remoteKey)) -}}
{{- $problems = append $problems "externalSecret.store and externalSecret.remoteKey are needed when externalSecret.enabled is true" -}}
{{- end -}}
{{- $problems | toJson -}}
{{- end -}}

{{- define "triton.validate.gpu" -}}
{{- $problems := list -}}
{{- $gpu := .Values.gpu -}}
{{- if $gpu.profile -}}
{{- $profile := get (.Files.Get "files/gpu-profiles.yaml" | fromYaml) $gpu.profile | default dict -}}
{{- if and (has $gpu.cloud (list "gke" "eks" "aks" "oke")) (not (hasKey $profile $gpu.cloud)) -}}
{{- $problems = append $problems (printf "gpu.cloud %s does not offer gpu.profile %s as far as this chart knows; leave gpu.cloud empty to match NVIDIA's node label" $gpu.cloud $gpu.profile) -}}
{{- end -}}
{{- if and $gpu.mig (not (hasKey ($profile.mig | default dict) $gpu.mig)) -}}
{{- $problems = append $problems (printf "gpu.mig %s is not a slice of gpu.profile %s (%s)" $gpu.mig $gpu.profile (keys ($profile.mig | default (dict "it has none" 1)) | sortAlpha | join ", ")) -}}
{{- end -}}
{{- else if or $gpu.mig $gpu.cloud -}}
{{- $problems = append $problems (printf "gpu.mig %q and gpu.cloud %q need a gpu.profile" $gpu.mig $gpu.cloud) -}}
{{- end -}}
{{- if $gpu.deviceClass -}}
{{- if eq (include "triton.gpuCount" .) "0" -}}
{{- $problems = append $problems (printf "gpu.deviceClass is %s, but no GPU is asked for: set gpu.count or gpu.profile" $gpu.deviceClass) -}}
{{- end -}}
{{- if semverCompare "<1.34-0" (include "triton.kubeVersion" .) -}}
{{- $problems = append $problems (printf "gpu.deviceClass is %s, but Kubernetes %s has no resource.k8s.io/v1 (it came with 1.34)" $gpu.deviceClass (include "triton.kubeVersion" .)) -}}
{{- end -}}
{{- if or $gpu.mig $gpu.resourceName -}}
{{- $problems = append $problems "gpu.mig and gpu.resourceName name resources of the device plugin, but gpu.deviceClass is set; ask for a slice with deviceClass mig.nvidia.com and gpu.deviceSelectors" -}}
{{- end -}}
{{- else if $gpu.deviceSelectors -}}
{{- $problems = append $problems "gpu.deviceSelectors is set, but gpu.deviceClass is empty: the device plugin knows no selectors" -}}
{{- end -}}
{{- if and .Values.prePull.enabled (not (or $gpu.profile .Values.pod.nodeSelector (hasKey .Values.pod.affinity "nodeAffinity"))) -}}
{{- $problems = append $problems "prePull.enabled would put the image, over 10 GB, on every node of the cluster; set gpu.profile, pod.nodeSelector or pod.affinity.nodeAffinity" -}}
{{- end -}}
{{- if and .Values.prePull.images (not .Values.prePull.enabled) -}}
{{- $problems = append $problems "prePull.images names images, but prePull.enabled is false" -}}
{{- end -}}
{{- $engines := .Values.engineCache -}}
{{- if and $engines.existingClaim (not $engines.path) -}}
{{- $problems = append $problems (printf "engineCache.existingClaim is %s, but engineCache.path is empty: nothing would be mounted" $engines.existingClaim) -}}
{{- end -}}
{{- if has $engines.path (list "/tmp" "/dev/shm" "/mnt/models") -}}
{{- $problems = append $problems (printf "engineCache.path is %s, which is a volume already; package with --engine-cache and another folder" $engines.path) -}}
{{- end -}}
{{- $multi := .Values.multiNode -}}
{{- if $multi.enabled -}}
{{- $count := include "triton.gpuCount" . | int -}}
{{- $world := mul $multi.tensorParallel $multi.pipelineParallel | int -}}
{{- if eq $count 0 -}}
{{- $problems = append $problems "multiNode.enabled needs GPUs: set gpu.profile or gpu.count" -}}
{{- else if ne (mod $world $count) 0 -}}
{{- $problems = append $problems (printf "multiNode.tensorParallel %d × pipelineParallel %d = %d GPUs, which gpu.count %d a node does not divide" (int $multi.tensorParallel) (int $multi.pipelineParallel) $world $count) -}}
{{- else if lt (div $world $count) 2 -}}
{{- $problems = append $problems (printf "multiNode.tensorParallel %d × pipelineParallel %d = %d GPUs fit on one node of gpu.count %d; leave multiNode.enabled false" (int $multi.tensorParallel) (int $multi.pipelineParallel) $world $count) -}}
{{- end -}}
{{- if and (eq $multi.backend "tensorrtllm") (not $multi.sshSecret) -}}
{{- $problems = append $problems "multiNode.sshSecret is empty, but multiNode.backend tensorrtllm starts its ranks over ssh" -}}
{{- end -}}
{{- if and (ne (include "triton.autoscalingMode" .) "off") (eq .Values.autoscaling.metrics.source "cpu") -}}
{{- $problems = append $problems "autoscaling.metrics.source cpu does not show the load of a multi-node GPU model; use prometheus" -}}
{{- end -}}
{{- end -}}
{{- $problems | toJson -}}
{{- end -}}

{{- define "triton.validate.traffic" -}}
{{- $problems := list -}}
{{- $gateway := .Values.gateway -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.hosts) -}}
{{- $problems = append $problems "ingress.hosts is empty, but ingress.enabled is true" -}}
{{- end -}}
{{- if and (or $gateway.httpRoute.enabled $gateway.grpcRoute.enabled) (not $gateway.parentRefs) -}}
{{- $problems = append $problems "gateway.parentRefs is empty, but a route is enabled: name the Gateway that it attaches to" -}}
{{- end -}}
{{- $envoy := $gateway.envoyGateway -}}
{{- if and $envoy.enabled (not (or $gateway.httpRoute.enabled $gateway.grpcRoute.enabled)) -}}
{{- $problems = append $problems "gateway.envoyGateway.enabled is true, but no route is enabled: its policies would apply to nothing" -}}
{{- end -}}
{{- if and $envoy.enabled $envoy.apiKeySecret .Values.networkPolicy.enabled (not .Values.networkPolicy.clients) -}}
{{- $problems = append $problems "gateway.envoyGateway.apiKeySecret is set, but networkPolicy.clients is empty: everyone could go around the Gateway without a key; name the Gateway's pods or namespace there" -}}
{{- end -}}
{{- if and (not $envoy.enabled) (or $envoy.apiKeySecret (gt (int $envoy.requestsPerSecond) 0)) -}}
{{- $problems = append $problems "gateway.envoyGateway.apiKeySecret or requestsPerSecond is set, but gateway.envoyGateway.enabled is false: the routes would be open and without a limit; the Gateway API itself has neither, so with another implementation use gateway.httpRoute.filters and gateway.grpcRoute.filters" -}}
{{- end -}}
{{- if and (int $gateway.canary.weight) (not $gateway.canary.service) -}}
{{- $problems = append $problems (printf "gateway.canary.weight is %d, but gateway.canary.service names no Service" (int $gateway.canary.weight)) -}}
{{- end -}}
{{- if and .Values.compatibility.vertexAi .Values.compatibility.sageMaker -}}
{{- $problems = append $problems "compatibility.vertexAi and compatibility.sageMaker exclude each other: both take compatibility.port" -}}
{{- end -}}
{{- if and .Values.monitoring.serviceMonitor.enabled .Values.monitoring.podMonitor.enabled -}}
{{- $problems = append $problems "monitoring.serviceMonitor.enabled and monitoring.podMonitor.enabled are both true: each replica would be scraped twice, and every sum would read double" -}}
{{- end -}}
{{- if regexMatch "^https?://[^/]+:4317(/|$)" .Values.tracing.url -}}
{{- $problems = append $problems (printf "tracing.url %s is the port of OTLP over gRPC; Triton sends OTLP over HTTP, usually to port 4318 and path /v1/traces" .Values.tracing.url) -}}
{{- end -}}
{{- $ports := .Values.server.ports -}}
{{- $all := list (int $ports.http) (int $ports.grpc) (int $ports.metrics) -}}
{{- if or .Values.compatibility.vertexAi .Values.compatibility.sageMaker -}}{{- $all = append $all (int .Values.compatibility.port) -}}{{- end -}}
{{- if ne (len $all) (len (uniq $all)) -}}
{{- $problems = append $problems (printf "server.ports (and compatibility.port) must differ: %v" $all) -}}
{{- end -}}
{{- if eq (int .Values.service.httpPort) (int .Values.service.grpcPort) -}}
{{- $problems = append $problems (printf "service.httpPort and service.grpcPort are both %d" (int .Values.service.httpPort)) -}}
{{- end -}}
{{- $problems | toJson -}}
{{- end -}}
