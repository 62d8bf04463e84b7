{{/* Pods of one group of nodes. */}}
{{- define "triton.groupSize" -}}
{{- $multi := .Values.multiNode -}}
{{- div (mul $multi.tensorParallel $multi.pipelineParallel) (max 1 (include "triton.gpuCount" . | int)) -}}
{{- end -}}

{{/* Command of a group's leader or worker. Call with dict: root, role. */}}
{{- define "triton.groupCommand" -}}
{{- $multi := .root.Values.multiNode -}}
{{- $script := printf "files/scripts/%s-%s.sh" (ternary "ray" "mpi" (eq $multi.backend "vllm")) .role -}}
- bash
- -euc
- |
  {{- .root.Files.Get $script | trim | nindent 2 }}
- {{ .role }}
- {{ include "triton.gpuCount" .root | quote }}
{{- if eq .role "leader" }}
{{ include "triton.arguments" .root }}
{{- end }}
{{- end -}}
