{{/* The planner's configuration, as a document. */}}
{{- define "sla-planner.config" -}}
{{- $document := dict "kubernetes" (merge (deepCopy .Values.targets) (dict "namespace" .Release.Namespace)) -}}
{{/* helm hands over --set sla.itl=7.5 as text. */}}
{{- range $name, $number := .Values.sla -}}
  {{- $_ := set $.Values.sla $name (float64 $number) -}}
{{- end -}}
{{- range $section := list "sla" "budget" "profile" "mode" "prometheus" "metrics" "services" -}}
  {{- with get $.Values $section -}}
    {{- $_ := set $document $section . -}}
  {{- end -}}
  {{- if hasKey $.Values.config $section -}}
    {{- fail (printf "config.%s: is a value of its own; write %s without config" $section $section) -}}
  {{- end -}}
{{- end -}}
{{- if .Values.discover.namespaces -}}
  {{- $_ := set $document "discover" .Values.discover -}}
{{- end -}}
{{- if hasKey .Values.config "discover" -}}
  {{- fail "config.discover: is a value of its own; write discover without config" -}}
{{- end -}}
{{- if hasKey .Values.config "kubernetes" -}}
  {{- fail "config.kubernetes: is a value of its own; write targets" -}}
{{- end -}}
{{- toYaml (merge $document (deepCopy .Values.config)) -}}
{{- end -}}

{{/* What each service scales: its section `kubernetes`, by the service's name; that of the only one is "". */}}
{{- define "sla-planner.sections" -}}
{{- $document := include "sla-planner.config" . | fromYaml -}}
{{- $sections := dict -}}
{{- range $name, $service := $document.services | default (dict "" dict) -}}
  {{- $_ := set $sections $name (merge (deepCopy (dig "kubernetes" dict $service)) $document.kubernetes) -}}
{{- end -}}
{{- toYaml $sections -}}
{{- end -}}

{{/* The targets of all services, a list of {namespace, target}, under `items`. */}}
{{- define "sla-planner.targets" -}}
{{- $items := list -}}
{{- range $section := include "sla-planner.sections" . | fromYaml -}}
  {{- range $role := list "prefill" "decode" "aggregated" -}}
    {{- with get $section $role -}}
      {{- $items = append $items (dict "namespace" $section.namespace "target" .) -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- dict "items" ($items | uniq) | toYaml -}}
{{- end -}}
