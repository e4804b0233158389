{{/* Names end before 63 characters, so that suffixes fit. */}}
{{- define "sla-planner.fullname" -}}
{{- $default := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) -}}
{{- .Values.fullnameOverride | default $default | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "sla-planner.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Of the pod of helm test, which is not to be taken for a planner. */}}
{{- define "sla-planner.testSelector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}-test
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "sla-planner.labels" -}}
{{ include "sla-planner.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "sla-planner.account" -}}
{{- $default := .Values.serviceAccount.create | ternary (include "sla-planner.fullname" .) "default" -}}
{{- .Values.serviceAccount.name | default $default -}}
{{- end -}}

{{- define "sla-planner.image" -}}
{{- if eq .Values.image.tag "latest" -}}
  {{- fail "image.tag: latest is a different planner every day; give a version, or image.digest" -}}
{{- end -}}
{{- $version := printf ":%s" (.Values.image.tag | default .Chart.AppVersion) -}}
{{- .Values.image.repository }}{{ .Values.image.digest | empty | ternary $version (printf "@%s" .Values.image.digest) -}}
{{- end -}}

{{/* On which nodes a pod may run, and before which others. */}}
{{- define "sla-planner.placement" -}}
{{- $said := dict -}}
{{- range $field := list "nodeSelector" "affinity" "tolerations" "priorityClassName" -}}
  {{- with get $.Values $field -}}
    {{- $_ := set $said $field . -}}
  {{- end -}}
{{- end -}}
{{- with $said -}}
  {{- toYaml . -}}
{{- end -}}
{{- end -}}
