{{/*
One NATS server with JetStream as a StatefulSet, with its Services. Takes `root` and `values` (image,
config.jetstream, resources, nodeSelector, tolerations, affinity). Named like etcd.
*/}}

{{- define "coordination.nats.name" -}}
{{- default (printf "%s-nats" (.root.Release.Name | trunc 58 | trimSuffix "-")) .values.fullnameOverride -}}
{{- end -}}

{{- define "coordination.nats.url" -}}
{{- printf "nats://%s.%s.svc.cluster.local:4222" (include "coordination.nats.name" .) .root.Release.Namespace -}}
{{- end -}}

{{- define "coordination.nats.config" -}}
{{- $files := .config.jetstream.fileStore -}}
server_name: $POD_NAME
port: 4222
http_port: 8222
pid_file: /run/nats/nats.pid
lame_duck_duration: 30s
lame_duck_grace_period: 10s
{{- if .config.jetstream.enabled }}
jetstream {
  store_dir: {{ $files.dir }}
  max_memory_store: 0
  max_file_store: {{ trimSuffix "i" $files.pvc.size }}B
}
{{- end }}
{{- end -}}

{{- define "coordination.nats" -}}
{{- $name := include "coordination.nats.name" . -}}
{{- $files := .values.config.jetstream.fileStore -}}
{{- $storage := dict "size" $files.pvc.size "storageClass" $files.pvc.storageClassName -}}
{{- $context := dict "root" .root "values" .values "component" "nats" "storage" $storage -}}
{{- $kept := and .values.config.jetstream.enabled $files.pvc.enabled -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ $name }}-config
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "coordination.labels" $context | nindent 4 }}
data:
  nats.conf: |
    {{- include "coordination.nats.config" .values | nindent 4 }}
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "coordination.labels" $context | nindent 4 }}
spec:
  selector:
    {{- include "coordination.selector" $context | nindent 4 }}
  ports:
    - name: nats
      port: 4222
      targetPort: nats
---
apiVersion: v1
kind: Service
metadata:
  name: {{ $name }}-headless
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "coordination.labels" $context | nindent 4 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "coordination.selector" $context | nindent 4 }}
  ports:
    - name: nats
      port: 4222
      targetPort: nats
    - name: monitor
      port: 8222
      targetPort: monitor
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "coordination.labels" $context | nindent 4 }}
spec:
  replicas: 1
  serviceName: {{ $name }}-headless
  selector:
    matchLabels:
      {{- include "coordination.selector" $context | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "coordination.selector" $context | nindent 8 }}
      annotations:
        checksum/config: {{ include "coordination.nats.config" .values | sha256sum }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      # Longer than the lame duck.
      terminationGracePeriodSeconds: 60
      {{- include "coordination.podSecurity" . | nindent 6 }}
      {{- with include "coordination.placement" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      containers:
        - name: nats
          image: {{ include "coordination.image" .values.image }}
          imagePullPolicy: {{ .values.image.pullPolicy }}
          command: [nats-server]
          args: [--config, /etc/nats/nats.conf]
          env:
            - name: POD_NAME
              valueFrom: { fieldRef: { fieldPath: metadata.name } }
          ports:
            - { name: nats, containerPort: 4222, protocol: TCP }
            - { name: monitor, containerPort: 8222, protocol: TCP }
          lifecycle:
            preStop:
              exec: { command: [nats-server, -sl=ldm=/run/nats/nats.pid] }
          startupProbe:
            httpGet: { path: /healthz, port: monitor }
            periodSeconds: 5
            failureThreshold: 90
          livenessProbe:
            httpGet: { path: "/healthz?js-enabled-only=true", port: monitor }
            periodSeconds: 30
            timeoutSeconds: 5
            failureThreshold: 3
          readinessProbe:
            httpGet: { path: "/healthz?js-server-only=true", port: monitor }
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          {{- with .values.resources }}
          resources:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- include "coordination.containerSecurity" . | nindent 10 }}
          volumeMounts:
            - name: config
              mountPath: /etc/nats
            - name: pid
              mountPath: /run/nats
            - name: data
              mountPath: {{ $files.dir }}
      volumes:
        - name: config
          configMap: { name: {{ $name }}-config }
        - name: pid
          emptyDir: {}
        {{- if not $kept }}
        - name: data
          emptyDir: {}
        {{- end }}
  {{- if $kept }}
  {{- include "coordination.claim" $context | nindent 2 }}
  {{- end }}
{{- end -}}
