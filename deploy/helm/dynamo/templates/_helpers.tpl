{{- define "dynamo.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "dynamo.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else if contains (include "dynamo.name" .) .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "dynamo.name" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selectors may use: nothing that a new version of the chart changes. Takes `root` and `role`. */}}
{{- define "dynamo.selectorLabels" -}}
app.kubernetes.io/name: {{ include "dynamo.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/dynamo-component: {{ .role }}
{{- end -}}

{{- define "dynamo.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "dynamo.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{/* Port of the HTTP frontend, as its configuration says. */}}
{{- define "dynamo.port" -}}
{{- $config := .Values.configs | fromYaml -}}
{{- with $config.Error -}}
{{- fail (printf "configs: not YAML: %s" .) -}}
{{- end -}}
{{- dig "Frontend" "port" 8000 $config | int -}}
{{- end -}}

{{- define "dynamo.natsServer" -}}
{{- if .Values.natsServerOverride -}}
{{- .Values.natsServerOverride -}}
{{- else if .Values.nats.enable -}}
nats://{{ include "coordination.nats.name" (dict "root" . "values" .Values.nats) }}:4222
{{- else -}}
{{- fail "nats.enable is false: say where NATS is (natsServerOverride)" -}}
{{- end -}}
{{- end -}}

{{- define "dynamo.etcdEndpoints" -}}
{{- if .Values.etcdEndpointsOverride -}}
{{- .Values.etcdEndpointsOverride -}}
{{- else if .Values.etcd.enable -}}
{{ include "coordination.etcd.name" (dict "root" . "values" .Values.etcd) }}:2379
{{- else -}}
{{- fail "etcd.enable is false: say where etcd is (etcdEndpointsOverride)" -}}
{{- end -}}
{{- end -}}

{{- define "dynamo.image" -}}
{{- include "coordination.image" . -}}
{{- end -}}

{{- define "dynamo.environment" -}}
- name: NATS_SERVER
  value: {{ include "dynamo.natsServer" . | quote }}
- name: ETCD_ENDPOINTS
  value: {{ include "dynamo.etcdEndpoints" . | quote }}
{{- end -}}

{{/* Resources of a role, with a share of the RDMA device in both sides. Takes `root` and `values`. */}}
{{- define "dynamo.resources" -}}
{{- $resources := deepCopy (default dict .values.resources) -}}
{{- if .root.Values.rdma.enable -}}
{{- range $side := list "requests" "limits" -}}
{{- $amounts := default dict (get $resources $side) -}}
{{- $_ := set $amounts "tke.cloud.tencent.com/tke-shared-rdma" 1 -}}
{{- $_ := set $resources $side $amounts -}}
{{- end -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}

{{/*
A Deployment of one role. Takes `root`, `role`, `suffix`, `values` (of the role), `replicas`, `command`,
`configs` (name of the ConfigMap with the configuration), `serves` (whether it has an HTTP frontend),
`probes`, and `metrics`, which is empty where there is no sidecar.
*/}}
{{- define "dynamo.deployment" -}}
{{- $root := .root -}}
{{- $name := include "dynamo.fullname" $root -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}-{{ .suffix }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "dynamo.labels" . | nindent 4 }}
spec:
  replicas: {{ .replicas }}
  # GPUs are not there twice.
  strategy: { type: Recreate }
  selector:
    matchLabels:
      {{- include "dynamo.selectorLabels" . | nindent 6 }}
  template:
    metadata:
      labels:
        {{- merge (include "dynamo.selectorLabels" . | fromYaml) .values.labels $root.Values.podLabels | toYaml | nindent 8 }}
      annotations:
        # Configurations are read at the start only.
        checksum/configs: {{ printf "%s%s%s" $root.Values.configs $root.Values.prefillConfigs (toJson $root.Values.graphs) | sha256sum }}
        {{- with merge (dict) .values.annotations $root.Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
        {{- if $root.Values.rdma.enable }}
        tke.cloud.tencent.com/networks: {{ printf "%s,tke-rdma-ipvlan" $root.Values.rdma.networkMode | quote }}
        {{- end }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      terminationGracePeriodSeconds: {{ $root.Values.terminationGracePeriodSeconds }}
      {{- if and $root.Values.rdma.enable (ternary $root.Values.rdma.hostNetwork $root.Values.hostNetwork (kindIs "invalid" $root.Values.hostNetwork)) }}
      hostNetwork: true
      dnsPolicy: ClusterFirstWithHostNet
      {{- end }}
      {{- with include "coordination.placement" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      containers:
        - name: {{ .role }}
          image: {{ include "dynamo.image" $root.Values.image }}
          imagePullPolicy: {{ $root.Values.image.pullPolicy }}
          command: [bash, -lc]
          args:
            - cd /workspace/examples/llm && exec {{ .command }} -f ./configs/configs.yaml
          env:
            {{- include "dynamo.environment" $root | nindent 12 }}
            {{- with $root.Values.env }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
          {{- if .serves }}
          ports:
            - { name: serve, containerPort: {{ include "dynamo.port" $root }}, protocol: TCP }
          {{- end }}
          {{- range $kind, $probe := .probes }}
          {{ $kind }}Probe:
            {{- toYaml $probe | nindent 12 }}
          {{- end }}
          resources:
            {{- include "dynamo.resources" . | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
            {{- if $root.Values.rdma.enable }}
            capabilities: { add: [IPC_LOCK] }
            {{- end }}
          volumeMounts:
            - name: configs
              mountPath: /workspace/examples/llm/configs
            - name: graphs
              mountPath: /workspace/examples/llm/graphs
            - name: dshm
              mountPath: /dev/shm
            {{- if $root.Values.modelPVC.enable }}
            - name: model
              mountPath: {{ $root.Values.modelPVC.mountPath }}
            {{- end }}
        {{- with .metrics }}
        - name: metrics
          image: {{ include "dynamo.image" .image }}
          imagePullPolicy: {{ .image.pullPolicy }}
          command: [bash, -lc]
          args:
            - exec metrics --component VllmWorker --endpoint load_metrics --port {{ .port }}
          env:
            {{- include "dynamo.environment" $root | nindent 12 }}
          ports:
            - { name: metrics, containerPort: {{ .port }}, protocol: TCP }
          readinessProbe:
            tcpSocket: { port: metrics }
          resources:
            {{- toYaml .resources | nindent 12 }}
          securityContext:
            allowPrivilegeEscalation: false
        {{- end }}
      volumes:
        - name: configs
          configMap: { name: {{ .configs }} }
        - name: graphs
          configMap: { name: {{ $name }}-graphs }
        - name: dshm
          emptyDir: { medium: Memory, sizeLimit: {{ $root.Values.sharedMemory }} }
        {{- if $root.Values.modelPVC.enable }}
        - name: model
          persistentVolumeClaim: { claimName: {{ $root.Values.modelPVC.name }} }
        {{- end }}
{{- end -}}

{{/* Service and ServiceMonitor of the pods that serve. Takes what the Deployment takes. */}}
{{- define "dynamo.front" -}}
{{- $root := .root -}}
{{- $name := printf "%s-%s" (include "dynamo.fullname" $root) .service -}}
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "dynamo.labels" . | nindent 4 }}
spec:
  type: {{ $root.Values.service.type }}
  selector:
    {{- include "dynamo.selectorLabels" . | nindent 4 }}
  ports:
    - name: serve
      port: {{ $root.Values.service.port }}
      targetPort: serve
    {{- with .metrics }}
    - name: metrics
      port: {{ .port }}
      targetPort: metrics
    {{- end }}
{{- if and .metrics .values.metrics.serviceMonitor.enable }}
{{- $monitor := .values.metrics.serviceMonitor }}
---
apiVersion: {{ $monitor.apiVersion }}
kind: ServiceMonitor
metadata:
  name: {{ $name }}
  namespace: {{ $monitor.namespace }}
  labels:
    {{- include "dynamo.labels" . | nindent 4 }}
    {{- with $monitor.additionalLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  namespaceSelector:
    matchNames: [{{ $root.Release.Namespace }}]
  selector:
    matchLabels:
      {{- include "dynamo.selectorLabels" . | nindent 6 }}
  endpoints:
    - port: metrics
      path: /metrics
      interval: {{ $monitor.interval }}
      honorLabels: {{ $monitor.honorLabels }}
      {{- with $monitor.relabelings }}
      relabelings:
        {{- toYaml . | nindent 8 }}
      {{- end }}
{{- end }}
{{- if $root.Values.podDisruptionBudget.enable }}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "dynamo.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ $root.Values.podDisruptionBudget.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "dynamo.selectorLabels" . | nindent 6 }}
{{- end }}
{{- if $root.Values.networkPolicy.enable }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "dynamo.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels:
      {{- include "dynamo.selectorLabels" . | nindent 6 }}
  policyTypes: [Ingress]
  ingress:
    - ports:
        - port: serve
          protocol: TCP
      {{- with $root.Values.networkPolicy.frontendFrom }}
      from:
        {{- toYaml . | nindent 8 }}
      {{- end }}
    # The processes of the release reach each other on ports that the system chooses.
    - from:
        - podSelector:
            matchLabels:
              app.kubernetes.io/instance: {{ $root.Release.Name }}
    {{- if .metrics }}
    - ports:
        - port: metrics
          protocol: TCP
    {{- end }}
{{- end }}
{{- end -}}
