{{/* The release's pods as a regular expression: a ReplicaSet's hash and a suffix, or a group leader's number. */}}
{{- define "triton.podPattern" -}}
{{- if .Values.multiNode.enabled -}}
{{- printf "%s-[0-9]+" (include "triton.workloadName" .) -}}
{{- else -}}
{{- printf "%s-[a-z0-9]+-[a-z0-9]{5}" (include "triton.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* Label matchers of this release's series. */}}
{{- define "triton.selector" -}}
{{- printf "namespace='%s',pod=~'%s'" .Release.Namespace (include "triton.podPattern" .) -}}
{{- end -}}

{{/* Top-level models as a regular expression inside a PromQL string, whose backslashes are doubled. */}}
{{- define "triton.modelPattern" -}}
{{- $names := list -}}
{{- range .Values.models.topLevel -}}{{- $names = append $names (regexQuoteMeta . | replace "\\" "\\\\") -}}{{- end -}}
{{- join "|" $names | default ".+" -}}
{{- end -}}

{{/* A formula over this release. Call with dict: root, name, by. */}}
{{- define "triton.releaseFormula" -}}
{{- $metrics := .root.Values.autoscaling.metrics -}}
{{- include "triton.formula" (dict "root" .root "name" .name "by" .by "selector" (include "triton.selector" .root) "models" (include "triton.modelPattern" .root) "window" $metrics.window "guardWindow" $metrics.guardWindow) -}}
{{- end -}}

{{/*
The two metrics of the autoscaler as JSON, the primary one first: its formula, name, target, the series that it is read
from, whether those series name their model as Triton does, and the models that its adapter rule is for. Another exporter
is another name, as an adapter has one rule for each metric; by a metric of your own, it is a rule of your release.
*/}}
{{- define "triton.scalingMetrics" -}}
{{- $metrics := .Values.autoscaling.metrics -}}
{{- $exporter := include "triton.exporter" . -}}
{{- $own := has $exporter (list "gauge" "seconds") -}}
{{- $suffix := ternary ($metrics.decoupled.metric | lower) ($exporter | replace "-" "_") $own -}}
{{- if $suffix }}{{ $suffix = printf "_%s" (regexReplaceAll "[^a-z0-9_]+" $suffix "_") }}{{ end -}}
{{- $series := get (dict
      "vllm-backend" (list "vllm:time_to_first_token_seconds_sum" "vllm:time_to_first_token_seconds_count")
      "vllm" (list "{__name__=~'(vllm:)?num_requests_running'}" "{__name__=~'(vllm:)?num_requests_waiting'}")
      "tensorrtllm" (list "nv_trt_llm_request_metrics" "nv_trt_llm_request_metrics")
      "gauge" (list $metrics.decoupled.metric "nv_inference_pending_request_count")
      "seconds" (list (printf "%s_sum" (trimSuffix "_sum" $metrics.decoupled.metric)) "nv_inference_pending_request_count")
    ) $exporter | default (list "nv_inference_request_duration_us" "nv_inference_pending_request_count") -}}
{{- $models := ternary (include "triton.modelPattern" .) ".+" $own -}}
{{- $named := not (has $exporter (list "vllm" "gauge" "seconds")) -}}
{{- list
      (dict "formula" "concurrency" "name" (printf "triton_concurrency%s" $suffix) "target" $metrics.concurrency.target "series" (first $series) "named" $named "models" $models)
      (dict "formula" "pending" "name" (printf "triton_pending%s" (ternary "" $suffix (eq $exporter "gauge"))) "target" $metrics.pending.target "series" (last $series) "named" false "models" $models)
    | toJson -}}
{{- end -}}

{{/* A selector of series with further label matchers. Call with dict: series, matchers. */}}
{{- define "triton.series" -}}
{{- if hasSuffix "}" .series -}}
{{- printf "%s,%s}" (trimSuffix "}" .series) .matchers -}}
{{- else -}}
{{- printf "%s{%s}" .series .matchers -}}
{{- end -}}
{{- end -}}

{{/* A number as a Kubernetes quantity, exact to a thousandth. */}}
{{- define "triton.quantity" -}}
{{- $milli := int64 (round (mulf (float64 .) 1000) 0) -}}
{{- if eq (mod $milli 1000) 0 -}}{{- div $milli 1000 -}}{{- else -}}{{- $milli -}}m{{- end -}}
{{- end -}}

{{/* A longer scale-down window than Kubernetes allows is cut. */}}
{{- define "triton.behavior" -}}
{{- $behavior := .Values.autoscaling.behavior -}}
{{- $window := max 300 (mul 2 (int .Values.autoscaling.coldStartSeconds)) | min 3600 -}}
{{- $given := $behavior.scaleDown.stabilizationWindowSeconds -}}
scaleUp:
  stabilizationWindowSeconds: {{ int $behavior.scaleUp.stabilizationWindowSeconds }}
  selectPolicy: Max
  policies:
    - type: Pods
      value: {{ int $behavior.scaleUp.pods }}
      periodSeconds: {{ int $behavior.scaleUp.periodSeconds }}
    - type: Percent
      value: {{ int $behavior.scaleUp.percent }}
      periodSeconds: {{ int $behavior.scaleUp.periodSeconds }}
scaleDown:
  stabilizationWindowSeconds: {{ if kindIs "invalid" $given }}{{ $window }}{{ else }}{{ int $given }}{{ end }}
  selectPolicy: Max
  policies:
    - type: Pods
      value: {{ int $behavior.scaleDown.pods }}
      periodSeconds: {{ int $behavior.scaleDown.periodSeconds }}
{{- end -}}

{{/*
How many replicas the workload asks for, and whether that is kept from the cluster; nothing where an autoscaler decides
alone. Leaving `replicas` out would make Kubernetes drop a live release to one replica, if Helm has set them before: then
what is live is kept. Server-side, Helm has set what it owns alone. Client-side, it compares with its last manifest, so
what was kept once must be kept from then on. As JSON: replicas, kept.
*/}}
{{- define "triton.replicas" -}}
{{- $mode := include "triton.autoscalingMode" . -}}
{{- $target := include "triton.scaleTarget" . | fromYaml -}}
{{- $live := dict -}}
{{- if and (ne $mode "off") .Release.IsUpgrade -}}
{{- $live = lookup $target.apiVersion $target.kind .Release.Namespace $target.name -}}
{{- end -}}
{{- $result := dict -}}
{{- if eq $mode "off" -}}
{{- $result = dict "replicas" (int .Values.replicas) "kept" false -}}
{{- else if $live -}}
{{- $owners := list -}}
{{- $applied := false -}}
{{- range $live.metadata.managedFields -}}
{{- $byHelm := and (eq .manager "helm") (eq .operation "Apply") -}}
{{- $applied = or $applied $byHelm -}}
{{- if hasKey (dig "fieldsV1" "f:spec" dict .) "f:replicas" -}}{{- $owners = append $owners (ternary "helm" "other" $byHelm) -}}{{- end -}}
{{- end -}}
{{- $kept := hasKey ($live.metadata.annotations | default dict) "serve/keeps-replicas" -}}
{{- $keep := or $kept (not (include "triton.liveAutoscaler" .)) -}}
{{- if $applied -}}{{- $keep = eq (join "," $owners) "helm" -}}{{- end -}}
{{- if $keep -}}
{{- $result = dict "replicas" (max (int $live.spec.replicas) (int .Values.autoscaling.minReplicas)) "kept" true -}}
{{- end -}}
{{- end -}}
{{- toJson $result -}}
{{- end -}}

{{/* The name of this release's autoscaler, where the cluster has it already. */}}
{{- define "triton.liveAutoscaler" -}}
{{- $keda := eq (include "triton.autoscalingMode" .) "keda" -}}
{{- $live := lookup (ternary "keda.sh/v1alpha1" "autoscaling/v2" $keda) (ternary "ScaledObject" "HorizontalPodAutoscaler" $keda) .Release.Namespace (include "triton.fullname" .) -}}
{{- with $live -}}{{- .metadata.name -}}{{- end -}}
{{- end -}}
