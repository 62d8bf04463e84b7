{{- define "triton.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: ["ALL"]
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "triton.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.security.runAsUser }}
runAsUser: {{ int . }}
{{- end }}
{{- with .Values.security.runAsGroup }}
runAsGroup: {{ int . }}
{{- end }}
{{- with .Values.security.fsGroup }}
fsGroup: {{ int . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "triton.resources" -}}
{{- $gpu := include "triton.gpu" . | fromYaml -}}
{{- $claimed := include "triton.claimTemplate" . -}}
{{- $multi := .Values.multiNode -}}
{{- $network := and $multi.enabled $multi.networkResource (gt (int $multi.networkCount) 0) -}}
requests:
  cpu: {{ .Values.resources.cpu | quote }}
  memory: {{ .Values.resources.memory }}
  ephemeral-storage: {{ .Values.resources.ephemeralStorage }}
  {{- if and (gt (int $gpu.count) 0) (not $claimed) }}
  {{ $gpu.resource }}: {{ int $gpu.count }}
  {{- end }}
  {{- if $network }}
  {{ $multi.networkResource }}: {{ int $multi.networkCount }}
  {{- end }}
limits:
  {{- with .Values.resources.cpuLimit }}
  cpu: {{ . | quote }}
  {{- end }}
  memory: {{ .Values.resources.memory }}
  ephemeral-storage: {{ .Values.resources.ephemeralStorage }}
  {{- if and (gt (int $gpu.count) 0) (not $claimed) }}
  {{ $gpu.resource }}: {{ int $gpu.count }}
  {{- end }}
  {{- if $network }}
  {{ $multi.networkResource }}: {{ int $multi.networkCount }}
  {{- end }}
{{- if $claimed }}
claims:
  - name: gpu
{{- end }}
{{- end -}}

{{- define "triton.ports" -}}
- name: http
  containerPort: {{ int .Values.server.ports.http }}
- name: grpc
  containerPort: {{ int .Values.server.ports.grpc }}
- name: metrics
  containerPort: {{ int .Values.server.ports.metrics }}
{{- if or .Values.compatibility.vertexAi .Values.compatibility.sageMaker }}
- name: platform
  containerPort: {{ int .Values.compatibility.port }}
{{- end }}
{{- end -}}

{{/* The Triton container, without command and probes. */}}
{{- define "triton.container" -}}
name: triton
image: {{ include "triton.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- include "triton.environment" . | trim | nindent 2 }}
{{- with include "triton.environmentSources" . | trim }}
envFrom:
  {{- . | nindent 2 }}
{{- end }}
securityContext:
  {{- include "triton.containerSecurity" . | nindent 2 }}
resources:
  {{- include "triton.resources" . | nindent 2 }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  - name: shm
    mountPath: /dev/shm
  {{- with include "triton.repositoryMounts" . | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  {{- with .Values.engineCache.path }}
  - name: engines
    mountPath: {{ . }}
  {{- end }}
  {{- if include "triton.needsSsh" . }}
  - name: ssh
    mountPath: /var/run/ssh
    readOnly: true
  {{- end }}
  {{- with .Values.pod.volumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "triton.needsSsh" -}}
{{- if and .Values.multiNode.enabled (eq .Values.multiNode.backend "tensorrtllm") -}}true{{- end -}}
{{- end -}}

{{- define "triton.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: {{ include "triton.temporarySize" . }}
- name: shm
  emptyDir:
    medium: Memory
    sizeLimit: {{ ternary .Values.multiNode.sharedMemory .Values.resources.sharedMemory .Values.multiNode.enabled }}
{{- include "triton.repositoryVolumes" . }}
{{- if .Values.engineCache.path }}
- name: engines
  {{- with .Values.engineCache.existingClaim }}
  persistentVolumeClaim:
    claimName: {{ . }}
  {{- else }}
  emptyDir:
    sizeLimit: {{ .Values.engineCache.size }}
  {{- end }}
{{- end }}
{{- if include "triton.needsSsh" . }}
- name: ssh
  secret:
    secretName: {{ .Values.multiNode.sshSecret }}
    defaultMode: 0440
{{- end }}
{{- with .Values.pod.volumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The nodes where a replica may run. Call with dict: root, affinity. */}}
{{- define "triton.nodes" -}}
{{- $gpu := include "triton.gpu" .root | fromYaml -}}
{{- $pod := .root.Values.pod -}}
{{- $selector := merge (dict) $pod.nodeSelector -}}
{{- if $gpu.architecture }}{{- $selector = merge $selector (dict "kubernetes.io/arch" $gpu.architecture) -}}{{- end -}}
{{- $affinity := deepCopy .affinity -}}
{{- if and $gpu.expressions (not (hasKey $affinity "nodeAffinity")) -}}
{{- $terms := list (dict "matchExpressions" $gpu.expressions) -}}
{{- $_ := set $affinity "nodeAffinity" (dict "requiredDuringSchedulingIgnoredDuringExecution" (dict "nodeSelectorTerms" $terms)) -}}
{{- end -}}
{{- with $selector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with concat ($gpu.tolerations | default list) $pod.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Everything about where a pod may run. */}}
{{- define "triton.scheduling" -}}
{{- $gpu := include "triton.gpu" . | fromYaml -}}
{{- $pod := .Values.pod -}}
{{- include "triton.nodes" (dict "root" . "affinity" $pod.affinity) }}
{{- with $gpu.runtimeClass }}
runtimeClassName: {{ . }}
{{- end }}
{{- with $pod.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with $pod.schedulerName }}
schedulerName: {{ . }}
{{- end }}
{{- if $pod.topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml $pod.topologySpreadConstraints | nindent 2 }}
{{- else if and (ne $pod.topologySpread "off") (not .Values.multiNode.enabled) }}
topologySpreadConstraints:
  {{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ $key }}
    whenUnsatisfiable: {{ ternary "DoNotSchedule" "ScheduleAnyway" (eq $pod.topologySpread "required") }}
    labelSelector:
      matchLabels:
        {{- include "triton.selectorLabels" $ | nindent 8 }}
    # Only replicas of the same rollout count, or old ones would push new ones away.
    matchLabelKeys: ["pod-template-hash"]
  {{- end }}
{{- end }}
{{- end -}}

{{/* Metadata of a server pod. Call with dict: root, and optionally labels. */}}
{{- define "triton.podMetadata" -}}
{{- $monitoring := .root.Values.monitoring -}}
labels:
  # No label here that changes with the chart's version: it would roll every replica.
  {{- include "triton.selectorLabels" .root | nindent 2 }}
  {{- with omit (merge (dict) .root.Values.pod.labels .root.Values.commonLabels) "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/component" }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
annotations:
  kubectl.kubernetes.io/default-container: triton
  {{- $monitored := or $monitoring.serviceMonitor.enabled $monitoring.podMonitor.enabled $monitoring.gmpPodMonitoring.enabled }}
  {{- if and $monitoring.scrapeAnnotations (not $monitored) }}
  prometheus.io/scrape: "true"
  prometheus.io/port: {{ .root.Values.server.ports.metrics | int | quote }}
  prometheus.io/path: /metrics
  {{- end }}
  {{- with include "triton.repositoryRevision" .root }}
  # New models roll the replicas.
  serve/repository-revision: {{ . | quote }}
  {{- end }}
  {{- with merge (dict) .root.Values.pod.annotations .root.Values.commonAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{/* A server pod's spec. Call with dict: root, role (server, leader, worker). */}}
{{- define "triton.podSpec" -}}
{{- $root := .root -}}
{{- $role := .role -}}
serviceAccountName: {{ include "triton.serviceAccountName" $root }}
automountServiceAccountToken: {{ $root.Values.serviceAccount.automountToken }}
enableServiceLinks: false
securityContext:
  {{- include "triton.podSecurity" $root | nindent 2 }}
terminationGracePeriodSeconds: {{ include "triton.gracePeriod" $root }}
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- include "triton.scheduling" $root }}
{{- with include "triton.claimTemplate" $root }}
resourceClaims:
  - name: gpu
    resourceClaimTemplateName: {{ . }}
{{- end }}
{{- with printf "%s\n%s" (include "triton.repositoryInit" $root) (ternary (toYaml $root.Values.pod.initContainers) "" (gt (len $root.Values.pod.initContainers) 0)) | trim }}
initContainers:
  {{- . | nindent 2 }}
{{- end }}
containers:
  - {{- include "triton.container" $root | nindent 4 }}
    {{- if eq $role "server" }}
    args:
      {{- include "triton.arguments" $root | nindent 6 }}
    {{- else }}
    command:
      {{- include "triton.groupCommand" (dict "root" $root "role" $role) | nindent 6 }}
    {{- end }}
    {{- if ne $role "worker" }}
    ports:
      {{- include "triton.ports" $root | nindent 6 }}
    {{- include "triton.probes" $root | nindent 4 }}
    lifecycle:
      preStop:
        {{- include "triton.preStop" $root | nindent 8 }}
    {{- end }}
  {{- with $root.Values.pod.sidecars }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumes:
  {{- include "triton.volumes" $root | nindent 2 }}
{{- end -}}
