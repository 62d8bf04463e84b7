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
