{{/*
What the GPU profile asks of a node, as YAML: count, resource, runtimeClass, architecture, expressions (node affinity),
tolerations. Empty on a CPU.
*/}}
{{- define "triton.gpu" -}}
{{- $gpu := .Values.gpu -}}
{{- $count := int $gpu.count -}}
{{- if and (eq $count 0) $gpu.profile -}}{{- $count = 1 -}}{{- end -}}
{{- if gt $count 0 -}}
{{- $profile := dict -}}
{{- if $gpu.profile -}}
{{- $profile = get (.Files.Get "files/gpu-profiles.yaml" | fromYaml) $gpu.profile | default dict -}}
{{- end -}}
{{- $onGke := eq $gpu.cloud "gke" -}}
{{- $resource := "nvidia.com/gpu" -}}
{{- if and $gpu.mig (eq $gpu.migStrategy "mixed") (not $onGke) -}}{{- $resource = printf "nvidia.com/mig-%s" $gpu.mig -}}{{- end -}}
count: {{ $count }}
resource: {{ $gpu.resourceName | default $resource }}
{{- if eq $gpu.runtimeClassName "auto" }}
runtimeClass: {{ ternary "nvidia" "" (and (eq $gpu.cloud "onprem") (not $gpu.deviceClass)) | quote }}
{{- else }}
runtimeClass: {{ $gpu.runtimeClassName | quote }}
{{- end }}
architecture: {{ $profile.architecture | default "" | quote }}
{{- if $gpu.profile }}
expressions:
  {{- if $onGke }}
  - key: cloud.google.com/gke-accelerator
    operator: In
    values: {{ $profile.gke | toJson }}
  {{- if $gpu.mig }}
  - key: cloud.google.com/gke-gpu-partition-size
    operator: In
    values: [{{ $gpu.mig | quote }}]
  {{- end }}
  {{- else if has $gpu.cloud (list "eks" "aks" "oke") }}
  - key: node.kubernetes.io/instance-type
    operator: In
    values: {{ get $profile $gpu.cloud | toJson }}
  {{- else }}
  {{- $products := $profile.products }}
  {{- if and $gpu.mig (eq $gpu.migStrategy "single") }}
  {{- $products = list }}
  {{- range $profile.products }}{{ $products = append $products (printf "%s-MIG-%s" . $gpu.mig) }}{{ end }}
  {{- end }}
  - key: nvidia.com/gpu.product
    operator: In
    values: {{ $products | toJson }}
  {{- end }}
{{- end }}
tolerations:
  - key: nvidia.com/gpu
    operator: Exists
    effect: NoSchedule
  {{- if eq $gpu.cloud "aks" }}
  - key: sku
    operator: Equal
    value: gpu
    effect: NoSchedule
  {{- end }}
  {{- if eq ($profile.architecture | default "") "arm64" }}
  - key: kubernetes.io/arch
    operator: Equal
    value: arm64
    effect: NoSchedule
  {{- end }}
{{- end -}}
{{- end -}}

{{/* GPUs a pod, as a number. */}}
{{- define "triton.gpuCount" -}}
{{- (include "triton.gpu" . | fromYaml).count | default 0 | int -}}
{{- end -}}

{{/* What a pod claims of a device class, as a ResourceClaim's spec; empty where the device plugin is asked. */}}
{{- define "triton.claimSpec" -}}
{{- if and .Values.gpu.deviceClass (ne (include "triton.gpuCount" .) "0") -}}
devices:
  requests:
    - name: gpu
      exactly:
        deviceClassName: {{ .Values.gpu.deviceClass }}
        allocationMode: ExactCount
        count: {{ include "triton.gpuCount" . }}
        {{- with .Values.gpu.deviceSelectors }}
        selectors:
          {{- range . }}
          - cel:
              expression: {{ . | quote }}
          {{- end }}
        {{- end }}
{{- end -}}
{{- end -}}

{{/* Its name follows from its content, because Kubernetes takes no change of a claim template. */}}
{{- define "triton.claimTemplate" -}}
{{- with include "triton.claimSpec" . -}}
{{- include "triton.fullname" $ }}-gpu-{{ sha256sum . | trunc 8 }}
{{- end -}}
{{- end -}}
