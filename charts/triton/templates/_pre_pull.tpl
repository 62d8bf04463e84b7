{{- define "triton.prePullLabels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default "triton" }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: pre-pull
{{- end -}}

{{- define "triton.prePullCommon" -}}
env:
  # The image asks for every GPU of the node.
  - name: NVIDIA_VISIBLE_DEVICES
    value: void
securityContext:
  {{- include "triton.containerSecurity" . | nindent 2 }}
resources:
  requests:
    cpu: 10m
    memory: 32Mi
    ephemeral-storage: 16Mi
  limits:
    {{- with .Values.resources.cpuLimit }}
    cpu: {{ . | quote }}
    {{- end }}
    memory: 32Mi
    ephemeral-storage: 16Mi
{{- end -}}
