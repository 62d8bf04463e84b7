{{/*
Which formulas count the requests of decoupled models: a folder of files/formulas, or nothing where the release has none.
vLLM is always decoupled.
*/}}
{{- define "triton.exporter" -}}
{{- .Values.autoscaling.metrics.decoupled.exporter | default (ternary "vllm-backend" "" (and .Values.multiNode.enabled (eq .Values.multiNode.backend "vllm"))) -}}
{{- end -}}

{{/* The text of a formula: the exporter's own, else the one for all models; nothing where neither is there. */}}
{{- define "triton.formulaText" -}}
{{- $own := .root.Files.Get (printf "files/formulas/%s/%s.promql" (include "triton.exporter" .root | default "none") .name) -}}
{{- $own | default (.root.Files.Get (printf "files/formulas/%s.promql" .name)) -}}
{{- end -}}

{{/*
A formula of files/formulas as one line of PromQL.
Call with dict: root, name (of the file), by (labels, may be empty), selector (label matchers, no braces, may be
empty), models (regular expression of the top-level models), window, guardWindow.
Single quotes only: the text goes into YAML and JSON strings as it is. Backslashes in `models` are doubled already.
*/}}
{{- define "triton.formula" -}}
{{- $text := include "triton.formulaText" . -}}
{{- if not $text }}{{ fail (printf "no formula files/formulas/%s.promql" .name) }}{{ end -}}
{{- $text = regexReplaceAll "(?m)^#.*$" $text "" | replace "\n" " " -}}
{{- $text = $text | replace "__BY__" (.by | default "") | replace "__SELECTOR__" (.selector | default "") -}}
{{- $text = $text | replace "__MODELS__" (.models | default ".+") -}}
{{- $text = $text | replace "__METRIC__" (.root.Values.autoscaling.metrics.decoupled.metric | trimSuffix "_sum") -}}
{{- $text = $text | replace "__WINDOW__" .window | replace "__GUARD_WINDOW__" .guardWindow -}}
{{- regexReplaceAll "\\s+" $text " " | trim -}}
{{- end -}}

{{/*
files/dashboard.json with its formulas, which stand there as __name__, over Grafana's variables.
Call with dict: root, uid, title, models.
*/}}
{{- define "triton.dashboard" -}}
{{- $text := .root.Files.Get "files/dashboard.json" -}}
{{- $streams := list -}}
{{- range $panel := .root.Files.Get "files/dashboard-streams.json" | fromJsonArray -}}
{{- if include "triton.formulaText" (dict "root" $.root "name" $panel.needs) -}}
{{- $streams = append $streams (omit $panel "needs") -}}
{{- end -}}
{{- end -}}
{{- if $streams -}}
{{- $document := fromJson $text -}}
{{- $text = merge (dict "panels" (concat $document.panels $streams)) $document | toRawJson -}}
{{- end -}}
{{- $scope := dict
      "root" .root "by" "namespace, pod, model, gpu_uuid" "selector" "namespace='$namespace',pod=~'$pod'"
      "models" "$model" "window" "$__rate_interval" "guardWindow" "$__rate_interval" -}}
{{- range $path, $_ := .root.Files.Glob "files/formulas/**.promql" -}}
{{- $name := base $path | trimSuffix ".promql" -}}
{{- if include "triton.formulaText" (dict "root" $.root "name" $name) -}}
{{- $text = $text | replace (printf "__%s__" $name) (include "triton.formula" (merge (dict "name" $name) $scope)) -}}
{{- end -}}
{{- end -}}
{{- $text | replace "__UID__" .uid | replace "__TITLE__" .title
          | replace "__MODELS__" (.models | default ".+" | replace "\\" "\\\\") -}}
{{- end -}}
