{{/* What the containers of the graph have in common. */}}

{{/* Environment of every container; takes `root` and `extraEnv`. What the operator adds is not here. */}}
{{- define "dynamo-vllm.environment" -}}
{{- $values := .root.Values -}}
{{- if eq $values.discovery.backend "kubernetes" }}
- name: DYN_DISCOVERY_BACKEND
  value: kubernetes
- name: DYN_EVENT_PLANE
  value: zmq
- name: POD_IP
  valueFrom: { fieldRef: { fieldPath: status.podIP } }
{{- else }}
- name: ETCD_ENDPOINTS
  value: {{ $values.platform.etcd.endpoints | quote }}
- name: NATS_SERVER
  value: {{ $values.platform.nats.server | quote }}
{{- if eq $values.runtime "dynamo" }}
- name: NATS_URL
  value: {{ $values.platform.nats.url | quote }}
{{- end }}
{{- end }}
{{- with include "dynamo-vllm.tokenSecret" .root }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ ternary $values.huggingface.existingSecretKey "HF_TOKEN" (not (empty $values.huggingface.existingSecret)) }}
{{- end }}
{{- if $values.volumes.nvidiaDriverLibs.enabled }}
- name: LD_LIBRARY_PATH
  value: /nvidia-driver-libs:/usr/local/cuda/lib64
- name: NVIDIA_DRIVER_CAPABILITIES
  value: compute,utility
{{- end }}
- name: HOME
  value: /cache
- name: USER
  value: tandem
- name: HF_HOME
  value: /cache/huggingface
- name: HF_HUB_CACHE
  value: /cache/huggingface/hub
- name: TANDEM_CACHE_DIR
  value: /cache/tandem
{{- with .extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "dynamo-vllm.containerSecurity" -}}
{{- if .Values.security.privileged }}
securityContext:
  privileged: true
{{- else if .Values.security.restricted }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: [ALL] }
{{- end }}
{{- end -}}

{{- define "dynamo-vllm.mounts" -}}
volumeMounts:
  - name: cache
    mountPath: /cache
  - name: tmp
    mountPath: /tmp
{{- if .Values.volumes.nvidiaDriverLibs.enabled }}
  - name: nvidia-driver-libs
    mountPath: /nvidia-driver-libs
    readOnly: true
{{- end }}
{{- if .Values.volumes.dev.enabled }}
  - name: dev
    mountPath: /dev
{{- end }}
{{- end -}}

{{/* A probe over HTTP; takes `path`, `port` and `probe`. */}}
{{- define "dynamo-vllm.probe" -}}
httpGet: { path: {{ .path }}, port: {{ .port }} }
{{- range $name, $value := .probe }}
{{ $name }}: {{ include "dynamo-vllm.integer" $value }}
{{- end }}
{{- end -}}

{{/* `preStop` of a container: it serves on while others learn that it leaves. */}}
{{- define "dynamo-vllm.lifecycle" -}}
{{- if and .Values.preStopSleepSeconds (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) }}
lifecycle:
  preStop:
    sleep: { seconds: {{ include "dynamo-vllm.integer" .Values.preStopSleepSeconds }} }
{{- end }}
{{- end -}}

{{/* Everything of a pod but its container; takes `root` and `component`, with its place. */}}
{{- define "dynamo-vllm.pod" -}}
{{- $values := .root.Values -}}
terminationGracePeriodSeconds: {{ include "dynamo-vllm.integer" $values.terminationGracePeriodSeconds }}
{{- with include "dynamo-vllm.serviceAccountName" .root }}
serviceAccountName: {{ . }}
{{- end }}
automountServiceAccountToken: {{ eq $values.discovery.backend "kubernetes" }}
{{- with $values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- if $values.security.restricted }}
securityContext:
  runAsNonRoot: true
  runAsUser: {{ include "dynamo-vllm.integer" $values.security.runAsUser }}
  runAsGroup: {{ include "dynamo-vllm.integer" $values.security.runAsUser }}
  fsGroup: {{ include "dynamo-vllm.integer" $values.security.runAsUser }}
  seccompProfile: { type: RuntimeDefault }
{{- end }}
{{- with .component.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .component.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .component.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
volumes:
  - name: cache
  {{- if and .worker $values.modelCache.existingClaim }}
    persistentVolumeClaim: { claimName: {{ $values.modelCache.existingClaim }} }
  {{- else if $values.modelCache.sizeLimit }}
    emptyDir: { sizeLimit: {{ $values.modelCache.sizeLimit }} }
  {{- else }}
    emptyDir: {}
  {{- end }}
  - name: tmp
    emptyDir: {}
{{- if $values.volumes.nvidiaDriverLibs.enabled }}
  - name: nvidia-driver-libs
    hostPath: { path: {{ $values.volumes.nvidiaDriverLibs.hostPath }} }
{{- end }}
{{- if $values.volumes.dev.enabled }}
  - name: dev
    hostPath: { path: {{ $values.volumes.dev.hostPath }} }
{{- end }}
{{- end -}}

{{/* Arguments of a worker as a JSON list. */}}
{{- define "dynamo-vllm.workerArguments" -}}
{{- $worker := .worker -}}
{{- $arguments := list -}}
{{- if eq .runtime "tandem" -}}
{{- $arguments = concat $arguments (list "worker" "--engine" $worker.engine) -}}
{{- end -}}
{{- if $worker.path -}}
{{- $arguments = concat $arguments (list "--model" $worker.path) -}}
{{- end -}}
{{- if eq $worker.engine "vllm" -}}
{{- $arguments = concat $arguments (list "--tensor-parallel-size" (toString $worker.parallel)) -}}
{{- if $worker.eager -}}
{{- $arguments = append $arguments "--enforce-eager" -}}
{{- end -}}
{{- end -}}
{{- if $worker.maxLength -}}
{{- $arguments = concat $arguments (list "--max-model-len" $worker.maxLength) -}}
{{- end -}}
{{- if eq $worker.engine "vllm" -}}
{{- $arguments = concat $arguments (list "--gpu-memory-utilization" $worker.memory) -}}
{{- end -}}
{{- if eq $worker.type "prefill" -}}
{{- $arguments = append $arguments "--is-prefill-worker" -}}
{{- end -}}
{{- $arguments = concat $arguments (list "--connector" $worker.connector) -}}
{{- if .http -}}
{{- $arguments = concat $arguments (list "--http-port" .http) -}}
{{- end -}}
{{- range $worker.extraArgs -}}
{{- $arguments = append $arguments (toString .) -}}
{{- end -}}
{{- toJson $arguments -}}
{{- end -}}
