{{/* Names of the models that the chart carries, as a JSON list. */}}
{{- define "triton.carriedModels" -}}
{{- $names := list -}}
{{- $prefix := printf "%s/" .Values.modelRepository.carried.path -}}
{{- range $path, $_ := .Files.Glob (printf "%s**" $prefix) -}}
{{- $names = append $names (trimPrefix $prefix $path | splitList "/" | first) -}}
{{- end -}}
{{- $names | uniq | sortAlpha | toJson -}}
{{- end -}}

{{/* Models that a replica must serve to be ready, as a JSON list; empty where the chart cannot know them. */}}
{{- define "triton.readyModels" -}}
{{- if .Values.models.topLevel -}}{{- .Values.models.topLevel | toJson -}}
{{- else if .Values.models.load -}}{{- .Values.models.load | toJson -}}
{{- else if eq .Values.modelRepository.source "carried" -}}{{- include "triton.carriedModels" . -}}
{{- else -}}[]{{- end -}}
{{- end -}}

{{/* How an OCI image becomes a repository here: volume or copy. */}}
{{- define "triton.ociMethod" -}}
{{- if ne .Values.modelRepository.oci.method "auto" -}}{{- .Values.modelRepository.oci.method -}}
{{- else if semverCompare ">=1.35-0" (include "triton.kubeVersion" .) -}}volume{{- else -}}copy{{- end -}}
{{- end -}}

{{/* What Triton is given as --model-repository. */}}
{{- define "triton.repositoryPath" -}}
{{- $source := .Values.modelRepository.source -}}
{{- if eq $source "carried" -}}/mnt/models/repository
{{- else if eq $source "pvc" -}}{{- printf "/mnt/models/%s" (trimAll "/" .Values.modelRepository.pvc.path) | trimSuffix "/" -}}{{- include "triton.snapshotPath" . -}}
{{- else if eq $source "oci" -}}
{{- if eq (include "triton.ociMethod" .) "volume" -}}{{- printf "/mnt/models/%s" (trimAll "/" .Values.modelRepository.oci.path) | trimSuffix "/" -}}{{- else -}}/mnt/models{{- end -}}
{{- else if eq $source "http" -}}/mnt/models
{{- else if include "triton.snapshotPath" . -}}{{- printf "%s%s" (trimSuffix "/" .Values.modelRepository.uri) (include "triton.snapshotPath" .) -}}
{{- else -}}{{- .Values.modelRepository.uri -}}{{- end -}}
{{- end -}}

{{/* Where a store has the snapshot that revision names, below the store's address; nothing in a fixed layout. */}}
{{- define "triton.snapshotPath" -}}
{{- if eq .Values.modelRepository.layout "snapshots" -}}{{- printf "/snapshots/%s" .Values.modelRepository.revision -}}{{- end -}}
{{- end -}}

{{/* What NOTES.txt calls the store. */}}
{{- define "triton.storeAddress" -}}
{{- if eq .Values.modelRepository.source "pvc" -}}{{- printf "claim %s" (include "triton.claimName" .) -}}
{{- else -}}{{- .Values.modelRepository.uri -}}{{- end -}}
{{- end -}}

{{/* What lets Triton read a store of each cloud. */}}
{{- define "triton.credentialsHint" -}}
{{- $annotations := dict "s3" "eks.amazonaws.com/role-arn on EKS" "gcs" "iam.gke.io/gcp-service-account on GKE" -}}
{{- with get $annotations .Values.modelRepository.source -}}{{- printf "set serviceAccount.annotations (%s) or " . -}}{{- else -}}set {{ end -}}
{{- "modelRepository.credentials.existingSecret" -}}
{{- end -}}

{{- define "triton.claimName" -}}
{{- .Values.modelRepository.pvc.existingClaim | default (printf "%s-models" (include "triton.fullname" .)) -}}
{{- end -}}

{{- define "triton.credentialsSecret" -}}
{{- if .Values.modelRepository.credentials.existingSecret -}}{{- .Values.modelRepository.credentials.existingSecret -}}
{{- else if .Values.externalSecret.enabled -}}{{- include "triton.fullname" . }}-credentials{{- end -}}
{{- end -}}

{{/*
What the carried models are called in the ConfigMap: a name and keys that follow from the content, so that a replica of
an older revision never mounts newer bytes under an older path. As JSON: name, digest, files ({path: key}).
*/}}
{{- define "triton.carried" -}}
{{- $prefix := printf "%s/" .Values.modelRepository.carried.path -}}
{{- $files := dict -}}
{{- range $path, $data := .Files.Glob (printf "%s**" $prefix) -}}
{{- $_ := set $files (trimPrefix $prefix $path) ($data | toString | sha256sum | trunc 32) -}}
{{- end -}}
{{- $digest := $files | toJson | sha256sum -}}
{{- dict "name" (printf "%s-models-%s" (include "triton.fullname" .) (trunc 10 $digest)) "digest" $digest "files" $files | toJson -}}
{{- end -}}

{{/* What tells one content of the repository from another; a change rolls the replicas. */}}
{{- define "triton.repositoryRevision" -}}
{{- if eq .Values.modelRepository.source "carried" -}}{{- (include "triton.carried" . | fromJson).digest | trunc 16 -}}
{{- else -}}{{- .Values.modelRepository.revision -}}{{- end -}}
{{- end -}}

{{/* Size of /tmp: where Triton reads from a store by itself, it copies the models there. */}}
{{- define "triton.temporarySize" -}}
{{- $copied := has .Values.modelRepository.source (list "s3" "gcs" "azure") -}}
{{- .Values.resources.temporary | default (ternary .Values.resources.ephemeralStorage "1Gi" $copied) -}}
{{- end -}}

{{/* The volume called models, or nothing where Triton reads from a store by itself. */}}
{{- define "triton.repositoryVolumes" -}}
{{- $repository := .Values.modelRepository -}}
{{- $secret := include "triton.credentialsSecret" . -}}
{{- if eq $repository.source "carried" }}
{{- $carried := include "triton.carried" . | fromJson }}
- name: models
  configMap:
    name: {{ $carried.name }}
    defaultMode: 0444
    # A ConfigMap has no folders: the items lay the flat keys out as a repository.
    items:
      {{- range $path, $key := $carried.files }}
      - key: {{ $key | quote }}
        path: {{ printf "repository/%s" $path | quote }}
      {{- end }}
{{- else if eq $repository.source "pvc" }}
- name: models
  persistentVolumeClaim:
    claimName: {{ include "triton.claimName" . }}
    readOnly: true
{{- else if and (eq $repository.source "oci") (eq (include "triton.ociMethod" .) "volume") }}
- name: models
  image:
    reference: {{ $repository.oci.reference }}
    pullPolicy: {{ $repository.oci.pullPolicy }}
{{- else if has $repository.source (list "oci" "http") }}
- name: models
  emptyDir:
    sizeLimit: {{ .Values.resources.ephemeralStorage }}
{{- end }}
{{- if and $secret (ne $repository.credentials.kind "environment") }}
- name: credentials
  secret:
    secretName: {{ $secret }}
    defaultMode: 0440
    items:
      - key: {{ $repository.credentials.key }}
        path: credentials
{{- end }}
{{- if and (eq $repository.source "http") $repository.http.headerSecret }}
- name: http-header
  secret:
    secretName: {{ $repository.http.headerSecret }}
    defaultMode: 0440
    items:
      - key: header
        path: header
{{- end }}
{{- end -}}

{{- define "triton.repositoryMounts" -}}
{{- if not (has .Values.modelRepository.source (list "s3" "gcs" "azure")) }}
- name: models
  mountPath: /mnt/models
  readOnly: true
{{- end }}
{{- if and (include "triton.credentialsSecret" .) (ne .Values.modelRepository.credentials.kind "environment") }}
- name: credentials
  mountPath: /var/run/model-repository
  readOnly: true
{{- end }}
{{- end -}}

{{- define "triton.repositoryEnv" -}}
{{- $repository := .Values.modelRepository -}}
{{- if and (eq $repository.source "s3") $repository.region }}
- name: AWS_DEFAULT_REGION
  value: {{ $repository.region | quote }}
{{- end }}
{{- if and (include "triton.credentialsSecret" .) (ne $repository.credentials.kind "environment") }}
- name: {{ index (dict "triton" "TRITON_CLOUD_CREDENTIAL_PATH" "google" "GOOGLE_APPLICATION_CREDENTIALS" "aws" "AWS_SHARED_CREDENTIALS_FILE") $repository.credentials.kind }}
  value: /var/run/model-repository/credentials
{{- end }}
{{- end -}}

{{/* Init containers that bring the repository into the pod. */}}
{{- define "triton.repositoryInit" -}}
{{- $repository := .Values.modelRepository -}}
{{- if and (eq $repository.source "oci") (eq (include "triton.ociMethod" .) "copy") }}
- name: copy-models
  image: {{ $repository.oci.reference }}
  imagePullPolicy: {{ $repository.oci.pullPolicy }}
  command: ["cp", "-R", {{ printf "/%s/." (trimAll "/" $repository.oci.path) | quote }}, "/mnt/models/"]
  {{- include "triton.initCommon" . | nindent 2 }}
{{- else if eq $repository.source "http" }}
- name: fetch-models
  image: {{ include "triton.image" . }}
  imagePullPolicy: {{ .Values.image.pullPolicy }}
  command:
    - sh
    - -euc
    - |
      {{- .Files.Get "files/scripts/fetch-models.sh" | trim | nindent 6 }}
    - fetch-models
    - {{ $repository.http.url | quote }}
    - /mnt/models
    - {{ $repository.http.sha256 | quote }}
    - {{ ternary "/var/run/http-header/header" "" (ne $repository.http.headerSecret "") | quote }}
  {{- include "triton.initCommon" . | nindent 2 }}
    {{- if $repository.http.headerSecret }}
    - name: http-header
      mountPath: /var/run/http-header
      readOnly: true
    {{- end }}
{{- end }}
{{- end -}}

{{/* Ends in volumeMounts, so that the caller can add to them. */}}
{{- define "triton.initCommon" -}}
securityContext:
  {{- include "triton.containerSecurity" . | nindent 2 }}
resources:
  requests:
    cpu: 100m
    memory: 256Mi
    ephemeral-storage: {{ .Values.resources.ephemeralStorage }}
  limits:
    memory: 256Mi
    ephemeral-storage: {{ .Values.resources.ephemeralStorage }}
volumeMounts:
  - name: models
    mountPath: /mnt/models
  - name: tmp
    mountPath: /tmp
{{- end -}}
