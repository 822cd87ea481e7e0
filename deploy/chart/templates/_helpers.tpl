{{/* The name of everything: the release's, with truenorth in it. */}}
{{- define "truenorth.name" -}}
{{- if contains "truenorth" .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-truenorth" .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What the pod is found by. */}}
{{- define "truenorth.selector" -}}
app.kubernetes.io/name: truenorth
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "truenorth.labels" -}}
{{ include "truenorth.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}
