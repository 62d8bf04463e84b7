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
