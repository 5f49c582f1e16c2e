{{- define "dynamo-platform.operator" -}}
{{- printf "%s-dynamo-operator" (.Release.Name | trunc 28 | trimSuffix "-") -}}
{{- end -}}

{{- define "dynamo-platform.selectorLabels" -}}
app.kubernetes.io/name: dynamo-operator
app.kubernetes.io/instance: {{ .Release.Name }}
control-plane: controller-manager
{{- end -}}

{{- define "dynamo-platform.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{ include "dynamo-platform.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* Whether etcd and NATS are used at all. */}}
{{- define "dynamo-platform.usesServers" -}}
{{- if eq .Values.discovery.backend "etcd" }}true{{ end -}}
{{- end -}}

{{- define "dynamo-platform.etcdEndpoints" -}}
{{- $given := (index .Values "dynamo-operator").etcdAddr -}}
{{- if $given -}}
{{- $given -}}
{{- else if .Values.etcd.enabled -}}
{{- include "coordination.etcd.endpoints" (dict "root" . "values" .Values.etcd) -}}
{{- else -}}
{{- fail "etcd.enabled is false: say where etcd is (dynamo-operator.etcdAddr), or do without (discovery.backend=kubernetes)" -}}
{{- end -}}
{{- end -}}

{{- define "dynamo-platform.natsServer" -}}
{{- $given := (index .Values "dynamo-operator").natsAddr -}}
{{- if $given -}}
{{- $given -}}
{{- else if .Values.nats.enabled -}}
{{- include "coordination.nats.url" (dict "root" . "values" .Values.nats) -}}
{{- end -}}
{{- end -}}

{{- define "dynamo-platform.image" -}}
{{- $image := deepCopy (index .Values "dynamo-operator").controllerManager.manager.image -}}
{{- if not $image.tag -}}
{{- $_ := set $image "tag" .Chart.AppVersion -}}
{{- end -}}
{{- include "coordination.image" $image -}}
{{- end -}}

{{- define "dynamo-platform.watchedNamespace" -}}
{{- $restriction := (index .Values "dynamo-operator").namespaceRestriction -}}
{{- if $restriction.enabled -}}
{{- default .Release.Namespace $restriction.targetNamespace -}}
{{- end -}}
{{- end -}}
