{{- define "triton.controlMode" -}}
{{- if ne .Values.server.controlMode "auto" -}}{{- .Values.server.controlMode -}}
{{- else if .Values.models.load -}}explicit{{- else -}}none{{- end -}}
{{- end -}}

{{/* Whether the image's tag says that it is from before 24.05, which brought --model-config-name. */}}
{{- define "triton.isOld" -}}
{{- $release := .Values.image.tag | default .Chart.AppVersion | regexFind "^[0-9]{2}\\.[0-9]{2}" -}}
{{- if and $release (lt (float64 $release) 24.05) -}}true{{- end -}}
{{- end -}}

{{/* Triton's command line, one argument a line. */}}
{{- define "triton.arguments" -}}
{{- $server := .Values.server -}}
{{- $admin := .Values.security.adminApi -}}
{{- $name := $server.modelConfigName | default (ternary "" .Values.gpu.profile (eq (include "triton.isOld" .) "true")) -}}
- tritonserver
- {{ printf "--model-repository=%s" (include "triton.repositoryPath" .) | quote }}
- --http-port={{ int $server.ports.http }}
- --grpc-port={{ int $server.ports.grpc }}
- --metrics-port={{ int $server.ports.metrics }}
- --model-control-mode={{ include "triton.controlMode" . }}
{{- range .Values.models.load }}
- {{ printf "--load-model=%s" . | quote }}
{{- end }}
- --strict-readiness=true
- --exit-on-error={{ $server.exitOnError }}
- --exit-timeout-secs={{ int .Values.lifecycle.exitTimeoutSeconds }}
- --log-format={{ $server.logFormat }}
- --log-verbose={{ int $server.logVerbose }}
{{- if not $server.autoComplete }}
- --disable-auto-complete-config
{{- end }}
{{- with $name }}
- {{ printf "--model-config-name=%s" . | quote }}
{{- end }}
{{- if $server.summaryLatencies }}
- --metrics-config=summary_latencies=true
{{- end }}
{{- if eq (include "triton.gpuCount" .) "0" }}
- --allow-gpu-metrics=false
{{- end }}
{{- if gt (int $server.grpcMaxConnectionAgeSeconds) 0 }}
# Milliseconds.
- --grpc-max-connection-age={{ mul $server.grpcMaxConnectionAgeSeconds 1000 }}
- --grpc-max-connection-age-grace={{ mul $server.grpcMaxConnectionAgeGraceSeconds 1000 }}
{{- end }}
{{- if gt (int64 $server.responseCache.sizeBytes) 0 }}
- --cache-config=local,size={{ int64 $server.responseCache.sizeBytes }}
{{- end }}
{{- range $server.backendConfig }}
- {{ printf "--backend-config=%s" . | quote }}
{{- end }}
{{- with .Values.tracing.url }}
- --trace-config=mode=opentelemetry
- --trace-config=level=TIMESTAMPS
- --trace-config=rate={{ int $.Values.tracing.oneIn }}
- {{ printf "--trace-config=opentelemetry,url=%s" . | quote }}
- {{ printf "--trace-config=opentelemetry,resource=service.name=%s" (include "triton.fullname" $) | quote }}
- {{ printf "--trace-config=opentelemetry,resource=service.namespace=%s" $.Release.Namespace | quote }}
- --trace-config=opentelemetry,resource=service.instance.id=$(SERVE_POD)
{{- end }}
{{- with $admin.restricted }}
- {{ printf "--http-restricted-api=%s:%s=$(SERVE_ADMIN_KEY)" (join "," .) $admin.header | quote }}
- {{ printf "--grpc-restricted-protocol=%s:%s=$(SERVE_ADMIN_KEY)" (join "," .) $admin.header | quote }}
{{- end }}
{{- if .Values.compatibility.vertexAi }}
- --allow-vertex-ai=true
- --vertex-ai-port={{ int .Values.compatibility.port }}
{{- with .Values.compatibility.vertexAiDefaultModel }}
- {{ printf "--vertex-ai-default-model=%s" . | quote }}
{{- end }}
# Triton closes its own HTTP port in Vertex AI mode unless it is asked for; the probes use it.
- --allow-http=true
{{- end }}
{{- if .Values.compatibility.sageMaker }}
- --allow-sagemaker=true
- --sagemaker-port={{ int .Values.compatibility.port }}
- --allow-http=true
{{- end }}
{{- range $server.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "triton.environment" -}}
{{- $admin := .Values.security.adminApi -}}
{{- if $admin.restricted }}
- name: SERVE_ADMIN_KEY
  valueFrom:
    {{- if $admin.existingSecret }}
    secretKeyRef:
      name: {{ $admin.existingSecret }}
      key: {{ $admin.key }}
    {{- else }}
    # Unguessable, and known only to those who may read the pod.
    fieldRef:
      fieldPath: metadata.uid
    {{- end }}
{{- end }}
{{- if .Values.tracing.url }}
- name: SERVE_POD
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
- name: HOME
  value: /tmp
- name: PYTHONDONTWRITEBYTECODE
  value: "1"
{{- if eq (include "triton.gpuCount" .) "0" }}
# The image asks for every GPU of the node, which a CPU replica must not take.
- name: NVIDIA_VISIBLE_DEVICES
  value: void
{{- end }}
{{- include "triton.repositoryEnv" . }}
{{- if .Values.compatibility.vertexAi }}
- name: AIP_MODE
  value: PREDICTION
- name: AIP_HTTP_PORT
  value: {{ .Values.compatibility.port | int | quote }}
- name: AIP_HEALTH_ROUTE
  value: /v2/health/ready
- name: AIP_PREDICT_ROUTE
  value: /predict
{{- end }}
{{- if .Values.compatibility.sageMaker }}
{{- with .Values.compatibility.sageMakerDefaultModel }}
- name: SAGEMAKER_TRITON_DEFAULT_MODEL_NAME
  value: {{ . | quote }}
{{- end }}
- name: SAGEMAKER_MULTI_MODEL
  value: {{ .Values.compatibility.sageMakerMultiModel | quote }}
{{- end }}
{{- with .Values.server.env }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "triton.environmentSources" -}}
{{- $secret := include "triton.credentialsSecret" . -}}
{{- if and $secret (eq .Values.modelRepository.credentials.kind "environment") }}
- secretRef:
    name: {{ $secret }}
{{- end }}
{{- with .Values.server.envFrom }}
{{ toYaml . }}
{{- end }}
{{- end -}}
