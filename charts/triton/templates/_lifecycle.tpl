{{- define "triton.gracePeriod" -}}
{{- $lifecycle := .Values.lifecycle -}}
{{- $needed := add $lifecycle.preStopSeconds $lifecycle.exitTimeoutSeconds $lifecycle.marginSeconds | int -}}
{{- if kindIs "invalid" $lifecycle.terminationGracePeriodSeconds -}}{{- $needed -}}
{{- else -}}{{- int $lifecycle.terminationGracePeriodSeconds -}}{{- end -}}
{{- end -}}

{{/* How many replicas a rollout replaces at once: by default a quarter, but one where it takes them from those that serve. */}}
{{- define "triton.atOnce" -}}
{{- $update := .Values.lifecycle.rollingUpdate -}}
{{- if kindIs "invalid" $update.atOnce -}}{{- ternary "25%" "1" $update.spareCapacity -}}
{{- else if kindIs "string" $update.atOnce -}}{{- $update.atOnce -}}
{{- else -}}{{- int $update.atOnce -}}{{- end -}}
{{- end -}}

{{- define "triton.rollingUpdate" -}}
{{- $atOnce := include "triton.atOnce" . -}}
maxSurge: {{ ternary $atOnce "0" .Values.lifecycle.rollingUpdate.spareCapacity }}
maxUnavailable: {{ ternary "0" $atOnce .Values.lifecycle.rollingUpdate.spareCapacity }}
{{- end -}}

{{/*
Longest time in which a rollout may show no progress, which is what Kubernetes' deadline counts: a node and the image in
ten minutes, the start-up budget, and, where the old replica goes first, its end.
*/}}
{{- define "triton.replacementSeconds" -}}
{{- $end := ternary 0 (include "triton.gracePeriod" . | int) .Values.lifecycle.rollingUpdate.spareCapacity -}}
{{- add .Values.probes.startupBudgetSeconds .Values.lifecycle.minReadySeconds 600 $end -}}
{{- end -}}

{{/* Minutes that a rollout of `replicas` may take. Call with dict: root, replicas. */}}
{{- define "triton.rolloutMinutes" -}}
{{- $atOnce := include "triton.atOnce" .root -}}
{{- $replicas := max 1 (int .replicas) -}}
{{- $step := int (trimSuffix "%" $atOnce) -}}
{{- if hasSuffix "%" $atOnce -}}
{{- $share := divf (mul $replicas $step) 100 -}}
{{- $step = max 1 (ternary (ceil $share) (floor $share) .root.Values.lifecycle.rollingUpdate.spareCapacity) -}}
{{- end -}}
{{- $each := include "triton.replacementSeconds" .root | float64 -}}
{{- divf (mulf (divf $replicas $step | ceil) $each) 60 | ceil | int -}}
{{- end -}}

{{/* How long the pod keeps serving after the endpoints begin to drop it. */}}
{{- define "triton.preStop" -}}
{{- if semverCompare ">=1.30-0" (include "triton.kubeVersion" .) -}}
sleep:
  seconds: {{ int .Values.lifecycle.preStopSeconds }}
{{- else -}}
exec:
  command: ["sleep", {{ int .Values.lifecycle.preStopSeconds | quote }}]
{{- end -}}
{{- end -}}

{{- define "triton.readinessProbe" -}}
{{- $models := include "triton.readyModels" . | fromJsonArray -}}
{{- if gt (len $models) 1 -}}
exec:
  # One probe has one URL; curl asks every model and stops at the first that is not ready.
  command:
    - curl
    - --fail
    - --fail-early
    - --silent
    - --max-time
    - {{ int .Values.probes.timeoutSeconds | quote }}
    {{- range $models }}
    - {{ printf "http://127.0.0.1:%d/v2/models/%s/ready" (int $.Values.server.ports.http) (urlquery .) | quote }}
    {{- end }}
{{- else -}}
httpGet:
  path: {{ if $models }}{{ printf "/v2/models/%s/ready" (urlquery (first $models)) }}{{ else }}/v2/health/ready{{ end }}
  port: http
{{- end }}
periodSeconds: {{ int .Values.probes.readinessPeriodSeconds }}
failureThreshold: {{ int .Values.probes.readinessFailureThreshold }}
timeoutSeconds: {{ int .Values.probes.timeoutSeconds }}
{{- end -}}

{{- define "triton.probes" -}}
startupProbe:
  httpGet:
    path: /v2/health/ready
    port: http
  periodSeconds: {{ int .Values.probes.startupPeriodSeconds }}
  failureThreshold: {{ divf .Values.probes.startupBudgetSeconds .Values.probes.startupPeriodSeconds | ceil | int }}
  timeoutSeconds: {{ int .Values.probes.timeoutSeconds }}
livenessProbe:
  httpGet:
    path: /v2/health/live
    port: http
  periodSeconds: {{ int .Values.probes.livenessPeriodSeconds }}
  failureThreshold: {{ int .Values.probes.livenessFailureThreshold }}
  timeoutSeconds: {{ int .Values.probes.timeoutSeconds }}
readinessProbe:
  {{- include "triton.readinessProbe" . | nindent 2 }}
{{- end -}}
