{{/*
etcd as a StatefulSet, with its Services. Takes `root` (the context of the chart that embeds it) and
`values` (image, replicaCount, persistence, resources, nodeSelector, tolerations, affinity). Its names
are always `<release>-etcd…`, whatever the release is called, unless values.fullnameOverride says
otherwise.
*/}}

{{- define "coordination.etcd.name" -}}
{{- default (printf "%s-etcd" (.root.Release.Name | trunc 58 | trimSuffix "-")) .values.fullnameOverride -}}
{{- end -}}

{{/* Address for clients, without a scheme. */}}
{{- define "coordination.etcd.endpoints" -}}
{{- printf "%s.%s.svc.cluster.local:2379" (include "coordination.etcd.name" .) .root.Release.Namespace -}}
{{- end -}}

{{- define "coordination.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{ include "coordination.selector" . }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end -}}

{{/* Takes `component` beside the rest. */}}
{{- define "coordination.selector" -}}
app.kubernetes.io/name: {{ .component }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* `image`: a dict of registry, repository, tag and digest. */}}
{{- define "coordination.image" -}}
{{- $repository := .repository -}}
{{- if .registry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .registry) $repository -}}
{{- end -}}
{{- if .digest -}}{{ $repository }}@{{ .digest }}{{- else -}}{{ $repository }}:{{ .tag }}{{- end -}}
{{- end -}}

{{- define "coordination.podSecurity" -}}
securityContext:
  runAsNonRoot: true
  runAsUser: 1000
  runAsGroup: 1000
  fsGroup: 1000
  seccompProfile: { type: RuntimeDefault }
{{- end -}}

{{- define "coordination.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end -}}

{{/* nodeSelector, tolerations, affinity and pull secrets of a pod. */}}
{{- define "coordination.placement" -}}
{{- $secrets := default .root.Values.imagePullSecrets .values.imagePullSecrets -}}
{{- with $secrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Volumes that hold the data: a directory of the pod, or a claim of the StatefulSet. */}}
{{- define "coordination.claim" -}}
{{- if semverCompare ">=1.27.0-0" .root.Capabilities.KubeVersion.Version -}}
# The data are registrations and events of the last hour: nothing that outlives its owner.
persistentVolumeClaimRetentionPolicy: { whenDeleted: Delete, whenScaled: Retain }
{{ end -}}
volumeClaimTemplates:
  - apiVersion: v1
    kind: PersistentVolumeClaim
    metadata:
      name: data
      labels:
        {{- include "coordination.selector" . | nindent 8 }}
    spec:
      accessModes: [ReadWriteOnce]
      {{- with .storage.storageClass }}
      storageClassName: {{ . }}
      {{- end }}
      resources: { requests: { storage: {{ .storage.size }} } }
{{- end -}}

{{- define "coordination.etcd" -}}
{{- $name := include "coordination.etcd.name" . -}}
{{- $context := dict "root" .root "values" .values "component" "etcd" "storage" .values.persistence -}}
{{- $headless := printf "%s-headless" $name -}}
{{- $domain := printf "%s.%s.svc.cluster.local" $headless .root.Release.Namespace -}}
{{- $members := list -}}
{{- range $index := until (int .values.replicaCount) -}}
{{- $members = append $members (printf "%s-%d=http://%s-%d.%s:2380" $name $index $name $index $domain) -}}
{{- end -}}
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
    - name: client
      port: 2379
      targetPort: client
---
# Members find each other before they are ready.
apiVersion: v1
kind: Service
metadata:
  name: {{ $headless }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "coordination.labels" $context | nindent 4 }}
spec:
  clusterIP: None
  publishNotReadyAddresses: true
  selector:
    {{- include "coordination.selector" $context | nindent 4 }}
  ports:
    - name: client
      port: 2379
      targetPort: client
    - name: peer
      port: 2380
      targetPort: peer
---
apiVersion: apps/v1
kind: StatefulSet
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "coordination.labels" $context | nindent 4 }}
spec:
  replicas: {{ int .values.replicaCount }}
  serviceName: {{ $headless }}
  podManagementPolicy: Parallel
  selector:
    matchLabels:
      {{- include "coordination.selector" $context | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "coordination.selector" $context | nindent 8 }}
    spec:
      automountServiceAccountToken: false
      enableServiceLinks: false
      {{- include "coordination.podSecurity" . | nindent 6 }}
      {{- with include "coordination.placement" . | trim }}
      {{- . | nindent 6 }}
      {{- end }}
      containers:
        - name: etcd
          image: {{ include "coordination.image" .values.image }}
          imagePullPolicy: {{ .values.image.pullPolicy }}
          command: [etcd]
          args:
            - --name=$(POD_NAME)
            - --data-dir=/data
            - --listen-client-urls=http://0.0.0.0:2379
            - --advertise-client-urls=http://$(POD_NAME).{{ $domain }}:2379
            - --listen-peer-urls=http://0.0.0.0:2380
            - --initial-advertise-peer-urls=http://$(POD_NAME).{{ $domain }}:2380
            - --initial-cluster={{ join "," $members }}
            - --initial-cluster-token={{ $name }}
            - --initial-cluster-state=new
            - --listen-metrics-urls=http://0.0.0.0:2381
            - --auto-compaction-mode=periodic
            - --auto-compaction-retention=1h
          env:
            - name: POD_NAME
              valueFrom: { fieldRef: { fieldPath: metadata.name } }
            - name: ETCDCTL_API
              value: "3"
          ports:
            - { name: client, containerPort: 2379, protocol: TCP }
            - { name: peer, containerPort: 2380, protocol: TCP }
            - { name: metrics, containerPort: 2381, protocol: TCP }
          startupProbe:
            httpGet: { path: "/health?serializable=true", port: metrics }
            periodSeconds: 5
            failureThreshold: 60
          livenessProbe:
            httpGet: { path: "/health?serializable=true", port: metrics }
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
          readinessProbe:
            httpGet: { path: /health, port: metrics }
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 3
          {{- with .values.resources }}
          resources:
            {{- toYaml . | nindent 12 }}
          {{- end }}
          {{- include "coordination.containerSecurity" . | nindent 10 }}
          volumeMounts:
            - name: data
              mountPath: /data
      {{- if not .values.persistence.enabled }}
      volumes:
        - name: data
          emptyDir: {}
      {{- end }}
  {{- if .values.persistence.enabled }}
  {{- include "coordination.claim" $context | nindent 2 }}
  {{- end }}
{{- if gt (int .values.replicaCount) 1 }}
---
# With one member it would only keep its node from being drained.
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ $name }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "coordination.labels" $context | nindent 4 }}
spec:
  maxUnavailable: 1
  selector:
    matchLabels:
      {{- include "coordination.selector" $context | nindent 6 }}
{{- end }}
{{- end -}}
