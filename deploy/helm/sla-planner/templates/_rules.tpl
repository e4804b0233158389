{{/* What one target needs beside what all need; takes {root, target}. */}}
{{- define "sla-planner.rulesOfTarget" -}}
{{- $form := "^([A-Z][A-Za-z0-9]*)(?:[.]([a-z0-9.-]+))?/([^#]+)(?:#(.+))?$" -}}
{{- $name := regexReplaceAll $form .target "${1}" -}}
{{- $group := regexReplaceAll $form .target "${2}" -}}
{{- $object := regexReplaceAll $form .target "${3}" -}}
{{- $component := regexReplaceAll $form .target "${4}" -}}
{{- $kind := get (.root.Files.Get "kinds.yaml" | fromYaml) $name -}}
{{- if and $kind (or (not $group) (eq $group $kind.group)) }}
- apiGroups: [{{ $kind.group }}]
  resources: [{{ $kind.resource }}]
  verbs: [list, watch]
{{- if $component }}
- apiGroups: [{{ $kind.group }}]
  resources: [{{ $kind.resource }}]
  resourceNames: [{{ $object }}]
  verbs: [patch]
{{- else if eq (default "" $kind.through) "object" }}
- apiGroups: [{{ $kind.group }}]
  resources: [{{ $kind.resource }}]
  resourceNames: [{{ $object }}]
  verbs: [patch]
{{- else if $kind.through }}
- apiGroups: [{{ $kind.group }}]
  resources: [{{ $kind.resource }}/scale]
  resourceNames: [{{ $object }}]
  verbs: [get, patch]
{{- end }}
{{- with $kind.owner }}
- apiGroups: [{{ regexReplaceAll "^[^.]+[.]" . "" }}]
  resources: [{{ regexFind "^[^.]+" . }}]
  verbs: [get]
{{- end }}
{{- else if not .root.Values.rbac.rules -}}
{{- fail (printf "%s: is of a kind that the chart does not know; give what it needs in rbac.rules" .target) -}}
{{- end }}
{{- end -}}

{{/* All that the planner may do in a namespace; takes {root, namespace, targets}. */}}
{{- define "sla-planner.rules" -}}
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- $said := list }}
{{- range .targets }}
{{- range include "sla-planner.rulesOfTarget" (dict "root" $.root "target" .) | fromYamlArray }}
{{- if not (has . $said) }}
- {{ toYaml . | nindent 2 | trim }}
{{- $said = append $said . }}
{{- end }}
{{- end }}
{{- end }}
{{- $marks := list }}
{{- range include "sla-planner.sections" .root | fromYaml }}
{{- $marks = ternary (append $marks .namespace) $marks (default false .idlest_first) }}
{{- end }}
{{- if has .namespace $marks }}
# Which pods are to go first.
- apiGroups: [""]
  resources: [pods]
  verbs: [patch]
{{- end }}
# Who else would set the replicas.
- apiGroups: [autoscaling]
  resources: [horizontalpodautoscalers]
  verbs: [list]
- apiGroups: [keda.sh]
  resources: [scaledobjects]
  verbs: [list]
- apiGroups: [autoscaling.aibrix.ai]
  resources: [podautoscalers]
  verbs: [list]
# How many GPUs a claim asks for.
- apiGroups: [resource.k8s.io]
  resources: [resourceclaimtemplates]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- with .root.Values.rbac.rules }}
{{ toYaml . }}
{{- end }}
{{- end -}}
