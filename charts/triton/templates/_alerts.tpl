{{/* What the placeholders of files/alerts.yaml stand for, as YAML. */}}
{{- define "triton.alertWords" -}}
{{- $alerts := .Values.monitoring.prometheusRule.alerts -}}
{{- $autoscaler := include "triton.fullname" . -}}
{{- $primary := include "triton.scalingMetrics" . | fromJsonArray | first -}}
{{- if eq (include "triton.autoscalingMode" .) "keda" }}{{ $autoscaler = printf "keda-hpa-%s" $autoscaler }}{{ end -}}
__SELECTOR__: {{ include "triton.selector" . | quote }}
__MODELS__: {{ include "triton.modelPattern" . | quote }}
__NAMESPACE__: {{ .Release.Namespace | quote }}
__AUTOSCALER__: {{ $autoscaler | quote }}
__MODEL_COUNT__: {{ include "triton.readyModels" . | fromJsonArray | len | max 1 | quote }}
# The start-up budget, and ten minutes for a node and the image.
__NOT_READY_FOR__: {{ printf "%ds" (add .Values.probes.startupBudgetSeconds 600) | quote }}
__ERROR_RATIO__: {{ $alerts.errorRatio | float64 | toString | quote }}
__QUEUE_BUDGET_US__: {{ mulf $alerts.queueBudgetMs 1000 | int64 | quote }}
__P99_BUDGET_US__: {{ mulf $alerts.p99BudgetMs 1000 | int64 | quote }}
__PENDING_BUDGET__: {{ $alerts.pendingBudget | default .Values.autoscaling.metrics.pending.target | float64 | toString | quote }}
__FIRST_TOKEN_BUDGET_SECONDS__: {{ divf $alerts.firstTokenBudgetMs 1000 | toString | quote }}
__KV_CACHE_RATIO__: {{ $alerts.kvCacheRatio | float64 | toString | quote }}
__SCALING_SERIES__: {{ include "triton.series" (dict "series" $primary.series "matchers" (ternary (printf "model=~'%s',%s" (include "triton.modelPattern" .) (include "triton.selector" .)) (include "triton.selector" .) $primary.named)) | quote }}
__GPU_MEMORY_RATIO__: {{ $alerts.gpuMemoryRatio | float64 | toString | quote }}
{{- end -}}

{{/* What this release has of the things that alerts need, as a JSON list. */}}
{{- define "triton.alertSupplies" -}}
{{- $supplies := list -}}
{{- if .Values.monitoring.prometheusRule.alerts.kubeStateMetrics }}{{ $supplies = append $supplies "kube-state-metrics" }}{{ end -}}
{{- if .Values.server.summaryLatencies }}{{ $supplies = append $supplies "summary-latencies" }}{{ end -}}
{{- if and (ne (include "triton.autoscalingMode" .) "off") (eq .Values.autoscaling.metrics.source "prometheus") }}{{ $supplies = append $supplies "autoscaler" }}{{ end -}}
{{- range list "streams_unanswered" "streams_waiting" "first_token_p99_seconds" "kv_cache_ratio" -}}
{{- if include "triton.formulaText" (dict "root" $ "name" .) }}{{ $supplies = append $supplies . }}{{ end -}}
{{- end -}}
{{- $supplies | toJson -}}
{{- end -}}
