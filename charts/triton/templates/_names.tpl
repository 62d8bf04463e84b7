{{/*
Name of the release's objects. Always <release>-triton, so that no two releases share one ("demo" and "demo-triton"
would, if the suffix were left out where it seems doubled). At most 42 characters: a pod's name is its ReplicaSet's, cut
at 58, and metrics are matched by it. A name that had to be changed gets a hash of the original.
*/}}
{{- define "triton.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $raw := printf "%s-%s" .Release.Name (.Values.nameOverride | default "triton") -}}
{{- $name := $raw | replace "." "-" -}}
{{- if regexMatch "^[0-9]" $name -}}{{- $name = printf "r%s" $name -}}{{- end -}}
{{- if or (ne $name $raw) (gt (len $name) 42) -}}
{{- $name = printf "%s-%s" ($name | trunc 33 | trimSuffix "-") (sha256sum $raw | trunc 8) -}}
{{- end -}}
{{- $name -}}
{{- end -}}
{{- end -}}

{{- define "triton.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- .Values.serviceAccount.name | default (include "triton.fullname" .) -}}
{{- else -}}
{{- .Values.serviceAccount.name | default "default" -}}
{{- end -}}
{{- end -}}

{{- define "triton.image" -}}
{{- $image := .Values.image -}}
{{- $tag := $image.tag | default (printf "%s-py3" .Chart.AppVersion) -}}
{{- if $image.digest -}}
{{- printf "%s@%s" $image.repository $image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image.repository $tag -}}
{{- end -}}
{{- end -}}

{{/* Kubernetes version to render for, without build metadata. */}}
{{- define "triton.kubeVersion" -}}
{{- .Values.kubeVersion | default .Capabilities.KubeVersion.Version | trimPrefix "v" | regexFind "^[0-9]+\\.[0-9]+(\\.[0-9]+)?" -}}
{{- end -}}

{{/* Labels that select the servers; immutable in a Deployment, so never add one. */}}
{{- define "triton.selectorLabels" -}}
app.kubernetes.io/name: {{ .Values.nameOverride | default "triton" }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: server
{{- end -}}

{{/* Labels that select the pods which answer requests: of a group of nodes only its leader. */}}
{{- define "triton.endpointLabels" -}}
{{ include "triton.selectorLabels" . }}
{{- if .Values.multiNode.enabled }}
leaderworkerset.sigs.k8s.io/worker-index: "0"
{{- end }}
{{- end -}}

{{/* Call with dict: root, component. */}}
{{- define "triton.labels" -}}
{{- $version := .root.Values.image.tag | default .root.Chart.AppVersion | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- $labels := dict
      "helm.sh/chart" (printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
      "app.kubernetes.io/name" (.root.Values.nameOverride | default "triton")
      "app.kubernetes.io/instance" .root.Release.Name
      "app.kubernetes.io/component" .component
      "app.kubernetes.io/version" $version
      "app.kubernetes.io/managed-by" .root.Release.Service -}}
{{- toYaml (merge $labels .root.Values.commonLabels) -}}
{{- end -}}

{{/* The metadata of every object. Call with dict: root, suffix, component, and optionally labels and annotations. */}}
{{- define "triton.metadata" -}}
name: {{ include "triton.fullname" .root }}{{ .suffix }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "triton.labels" (dict "root" .root "component" .component) | nindent 2 }}
  {{- with omit (.labels | default dict) "app.kubernetes.io/name" "app.kubernetes.io/instance" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with merge (dict) (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Name of the workload. LeaderWorkerSet makes a headless Service of its own name, which must not be ours. */}}
{{- define "triton.workloadName" -}}
{{- include "triton.fullname" . -}}{{- if .Values.multiNode.enabled -}}-group{{- end -}}
{{- end -}}

{{/* What an autoscaler targets. */}}
{{- define "triton.scaleTarget" -}}
{{- if .Values.multiNode.enabled -}}
apiVersion: leaderworkerset.x-k8s.io/v1
kind: LeaderWorkerSet
{{- else -}}
apiVersion: apps/v1
kind: Deployment
{{- end }}
name: {{ include "triton.workloadName" . }}
{{- end -}}

{{/* An unquoted `off` in YAML is false. */}}
{{- define "triton.autoscalingMode" -}}
{{- if .Values.autoscaling.mode -}}{{- .Values.autoscaling.mode -}}{{- else -}}off{{- end -}}
{{- end -}}

{{/* Fewest replicas that there are meant to be. */}}
{{- define "triton.fewestReplicas" -}}
{{- if eq (include "triton.autoscalingMode" .) "off" -}}{{- int .Values.replicas -}}{{- else -}}{{- int .Values.autoscaling.minReplicas -}}{{- end -}}
{{- end -}}
