{{- define "triton.gracePeriod" -}}
{{- $lifecycle := .Values.lifecycle -}}
{{- $needed := add $lifecycle.preStopSeconds $lifecycle.exitTimeoutSeconds $lifecycle.marginSeconds | int -}}
{{- if kindIs "invalid" $lifecycle.terminationGracePeriodSeconds -}}{{- $needed -}}
{{- else -}}{{- int $lifecycle.terminationGracePeriodSeconds -}}{{- end -}}
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
