{{/* Names and labels. */}}

{{- define "dynamo-vllm.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "dynamo-vllm.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "dynamo-vllm.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "dynamo-vllm.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "dynamo-vllm.namespace" -}}
{{- default .Release.Namespace .Values.global.namespace -}}
{{- end -}}

{{/* What never changes about the pods of a release; selectors use nothing else. */}}
{{- define "dynamo-vllm.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dynamo-vllm.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "dynamo-vllm.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "dynamo-vllm.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* The Secret with the token of the model hub; empty when there is none. */}}
{{- define "dynamo-vllm.tokenSecret" -}}
{{- if .Values.huggingface.existingSecret -}}
{{- .Values.huggingface.existingSecret -}}
{{- else if .Values.huggingface.token -}}
{{- printf "%s-huggingface" (include "dynamo-vllm.fullname" .) -}}
{{- end -}}
{{- end -}}

{{- define "dynamo-vllm.serviceAccountName" -}}
{{- if .Values.serviceAccount.name -}}
{{- .Values.serviceAccount.name -}}
{{- else if eq .Values.discovery.backend "kubernetes" -}}
{{- include "dynamo-vllm.fullname" . -}}
{{- end -}}
{{- end -}}

{{/* Image of a container: a dict of `root` and `engine`, which is empty for the frontend. */}}
{{- define "dynamo-vllm.image" -}}
{{- $values := .root.Values -}}
{{- $image := $values.image -}}
{{- $own := dict -}}
{{- $default := "tandem" -}}
{{- $tag := .root.Chart.AppVersion -}}
{{- if eq .engine "vllm" -}}
{{- $own = $values.workerImage -}}
{{- $default = "tandem-vllm" -}}
{{- end -}}
{{- if eq $values.runtime "dynamo" -}}
{{- $default = "nvcr.io/nvidia/ai-dynamo/vllm-runtime" -}}
{{- $tag = "0.6.1.post1" -}}
{{- end -}}
{{- $registry := coalesce $own.registry $image.registry -}}
{{- $repository := coalesce $own.repository $image.repository $default -}}
{{- if $registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" $registry) $repository -}}
{{- end -}}
{{- /* A digest or tag belongs to the repository that it was given with. */ -}}
{{- $digest := $image.digest -}}
{{- $given := $image.tag -}}
{{- if eq .engine "vllm" -}}
{{- if or $own.repository $own.digest (not $image.repository) -}}
{{- $digest = $own.digest -}}
{{- end -}}
{{- $given = coalesce $own.tag $image.tag -}}
{{- end -}}
{{- if $digest -}}
{{- printf "%s@%s" $repository $digest -}}
{{- else -}}
{{- printf "%s:%s" $repository (coalesce $given $tag) -}}
{{- end -}}
{{- end -}}

{{/* Whole numbers arrive as integers, floating-point numbers or text. */}}
{{- define "dynamo-vllm.integer" -}}
{{- . | toString | float64 | int64 -}}
{{- end -}}
