{{/*
A formula of files/formulas as one line of PromQL.
Call with dict: root, name (of the file), by (labels, may be empty), selector (label matchers, no braces, may be
empty), models (regular expression of the top-level models), window, guardWindow.
Single quotes only: the text goes into YAML and JSON strings as it is. Backslashes in `models` are doubled already.
*/}}
{{- define "triton.formula" -}}
{{- $text := .root.Files.Get (printf "files/formulas/%s.promql" .name) -}}
{{- if not $text }}{{ fail (printf "no formula files/formulas/%s.promql" .name) }}{{ end -}}
{{- $text = regexReplaceAll "(?m)^#.*$" $text "" | replace "\n" " " -}}
{{- $text = $text | replace "__BY__" (.by | default "") | replace "__SELECTOR__" (.selector | default "") -}}
{{- $text = $text | replace "__MODELS__" (.models | default ".+") -}}
{{- $text = $text | replace "__WINDOW__" .window | replace "__GUARD_WINDOW__" .guardWindow -}}
{{- regexReplaceAll "\\s+" $text " " | trim -}}
{{- end -}}

{{/*
files/dashboard.json with its formulas, which stand there as __name__, over Grafana's variables.
Call with dict: root, uid, title, models.
*/}}
{{- define "triton.dashboard" -}}
{{- $text := .root.Files.Get "files/dashboard.json" -}}
{{- $scope := dict
      "root" .root "by" "namespace, pod, model, gpu_uuid" "selector" "namespace='$namespace',pod=~'$pod'"
      "models" "$model" "window" "$__rate_interval" "guardWindow" "$__rate_interval" -}}
{{- range $path, $_ := .root.Files.Glob "files/formulas/*.promql" -}}
{{- $name := base $path | trimSuffix ".promql" -}}
{{- $text = $text | replace (printf "__%s__" $name) (include "triton.formula" (merge (dict "name" $name) $scope)) -}}
{{- end -}}
{{- $text | replace "__UID__" .uid | replace "__TITLE__" .title
          | replace "__MODELS__" (.models | default ".+" | replace "\\" "\\\\") -}}
{{- end -}}
