{{/* What `helm test` asks, as a JSON list of model, body, expect. */}}
{{- define "triton.testRequests" -}}
{{- $carried := and (eq .Values.modelRepository.source "carried") (eq .Values.modelRepository.carried.path "files/example-model") -}}
{{- if .Values.test.requests -}}
{{- .Values.test.requests | toJson -}}
{{- else if $carried -}}
{{- list (.Files.Get "files/example-request.json" | fromJson) | toJson -}}
{{- else -}}
{{- $requests := list -}}
{{- range include "triton.readyModels" . | fromJsonArray -}}
{{- $requests = append $requests (dict "model" . "body" "" "expect" "") -}}
{{- end -}}
{{- $requests | toJson -}}
{{- end -}}
{{- end -}}
