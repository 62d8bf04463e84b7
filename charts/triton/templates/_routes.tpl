{{/* Both releases of a canary. Call with dict: root, port. */}}
{{- define "triton.routeBackends" -}}
{{- $canary := .root.Values.gateway.canary -}}
- name: {{ include "triton.fullname" .root }}
  port: {{ int .port }}
  weight: {{ sub 100 (int $canary.weight) }}
{{- if $canary.service }}
- name: {{ $canary.service }}
  port: {{ int .port }}
  weight: {{ int $canary.weight }}
{{- end }}
{{- end -}}

{{- define "triton.routeSpec" -}}
parentRefs:
  {{- toYaml .root.Values.gateway.parentRefs | nindent 2 }}
{{- with .route.hostnames }}
hostnames: {{ toJson . }}
{{- end }}
{{- end -}}

{{/* The routes that there are, as targets of a policy. */}}
{{- define "triton.routeTargets" -}}
{{- range $kind, $part := dict "HTTPRoute" (list "httpRoute" "") "GRPCRoute" (list "grpcRoute" "-grpc") }}
{{- if (get $.Values.gateway (first $part)).enabled }}
- group: gateway.networking.k8s.io
  kind: {{ $kind }}
  name: {{ include "triton.fullname" $ }}{{ last $part }}
{{- end }}
{{- end }}
{{- end -}}
