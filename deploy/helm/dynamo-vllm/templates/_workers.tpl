{{/*
The workers as a JSON list in which nothing is left open. Every template starts from it, so that a
default is written once.
*/}}
{{- define "dynamo-vllm.workers" -}}
{{- $workers := list -}}
{{- $keys := dict "frontend" "the frontend" -}}
{{- $types := dict -}}
{{- $next := 1 -}}
{{- range $index, $entry := (include "dynamo-vllm.entries" . | fromJsonArray) -}}
{{- $where := printf "workers[%d]" $index -}}
{{- $type := default "both" $entry.workerType -}}
{{- $engine := default "vllm" $entry.engine -}}
{{- $fallback := ternary (printf "worker%d" $index) (printf "%sworker%d" $type $index) (eq $type "both") -}}
{{- $name := default $fallback $entry.name -}}
{{- $key := regexReplaceAll "[^A-Za-z0-9]" $name "" | lower -}}
{{- if hasKey $keys $key -}}
{{- fail (printf "%s.name: %q and %s would both be the service %q of the graph; give them different names" $where $name (get $keys $key) $key) -}}
{{- end -}}
{{- $_ := set $keys $key (printf "%s (%q)" $where $name) -}}
{{- $child := printf "%s-%s" (include "dynamo-vllm.fullname" $) $key -}}
{{- if gt (len $child) 63 -}}
{{- fail (printf "%s.name: the Service of the worker would be called %q, which is longer than 63 characters; shorten the name or set fullnameOverride" $where $child) -}}
{{- end -}}
{{- if and (eq $.Values.runtime "dynamo") $.Values.workerHttp.enabled -}}
{{- fail "workerHttp.enabled: needs runtime: tandem" -}}
{{- end -}}
{{- if and (eq $.Values.runtime "dynamo") (ne $engine "vllm") -}}
{{- fail (printf "%s.engine: %q needs runtime: tandem" $where $engine) -}}
{{- end -}}
{{- $model := default dict $entry.model -}}
{{- $parallel := include "dynamo-vllm.integer" (default 1 $model.tensorParallelSize) | int -}}
{{- $connector := default "null" $entry.connector -}}
{{- if and (eq $connector "tcp") (ne $engine "embedded") -}}
{{- fail (printf "%s.connector: tcp is for engine: embedded; %s takes \"null\" or nixl" $where $engine) -}}
{{- end -}}
{{- if and (eq $connector "nixl") (ne $engine "vllm") -}}
{{- fail (printf "%s.connector: nixl is for engine: vllm; %s takes \"null\"%s" $where $engine (ternary " or tcp" "" (eq $engine "embedded"))) -}}
{{- end -}}
{{- $resources := include "dynamo-vllm.resources" (dict "given" $entry.resources "gpu" (ternary $parallel 0 (eq $engine "vllm")) "where" $where) | fromJson -}}
{{- $gpus := include "dynamo-vllm.integer" (default 0 $resources.limits.gpu) | int -}}
{{- if and (ne $gpus $parallel) (or $gpus (gt $parallel 1)) -}}
{{- fail (printf "%s: model.tensorParallelSize is %d, but resources ask for %d GPUs; make them equal, or leave resources.*.gpu out" $where $parallel $gpus) -}}
{{- end -}}
{{- $device := $next -}}
{{- if not (kindIs "invalid" $entry.gpuDevice) -}}
{{- $device = $entry.gpuDevice -}}
{{- end -}}
{{- $devices := $device | toString -}}
{{- if regexMatch "^[0-9.e+]+$" $devices -}}
{{- $first := include "dynamo-vllm.integer" $device | int -}}
{{- $all := list -}}
{{- range $offset := until $parallel -}}
{{- $all = append $all (add $first $offset | toString) -}}
{{- end -}}
{{- $devices = join "," $all -}}
{{- else if ne (len (splitList "," $devices)) $parallel -}}
{{- fail (printf "%s.gpuDevice: %q names %d GPUs, but model.tensorParallelSize is %d" $where $devices (len (splitList "," $devices)) $parallel) -}}
{{- end -}}
{{- $next = add $next $parallel -}}
{{- $path := "TinyLlama/TinyLlama-1.1B-Chat-v1.0" -}}
{{- if hasKey $model "path" -}}
{{- $path = $model.path -}}
{{- end -}}
{{- if and (not $path) (ne $engine "embedded") -}}
{{- fail (printf "%s.model.path: only engine: embedded has a model of its own" $where) -}}
{{- end -}}
{{- $replicas := 1 -}}
{{- if not (kindIs "invalid" $entry.replicas) -}}
{{- $replicas = include "dynamo-vllm.integer" $entry.replicas | int -}}
{{- end -}}
{{- $_ := set $types (printf "%s %s" $path $type) true -}}
{{- $workers = append $workers (dict
      "name" $name "key" $key "type" $type "engine" $engine "replicas" $replicas
      "devices" $devices "gpus" $gpus "connector" $connector "path" (default "" $path)
      "parallel" $parallel
      "eager" (ternary $model.enforceEager true (hasKey $model "enforceEager"))
      "maxLength" (ternary (include "dynamo-vllm.integer" (default 0 $model.maxModelLen)) "" (not (empty $model.maxModelLen)))
      "memory" (default 0.9 $model.gpuMemoryUtilization | toString | float64 | toString)
      "extraArgs" (default list $model.extraArgs)
      "resources" $resources
      "nodeSelector" (default dict $entry.nodeSelector)
      "tolerations" (default list $entry.tolerations)
      "affinity" (default dict $entry.affinity)
      "extraEnv" (default list $entry.extraEnv)
      "probes" (mergeOverwrite (deepCopy $.Values.workerProbes) (default dict $entry.probes))) -}}
{{- end -}}
{{- if not $workers -}}
{{- fail "workers: there are none; give at least one entry" -}}
{{- end -}}
{{- range $worker := $workers -}}
{{- if and (eq $worker.type "prefill") (not (hasKey $types (printf "%s decode" $worker.path))) (not (hasKey $types (printf "%s both" $worker.path))) -}}
{{- fail (printf "workers: %q is a prefill worker of %q, but no worker of that model has the type decode or both, so that nothing could answer" $worker.name $worker.path) -}}
{{- end -}}
{{- end -}}
{{- toJson $workers -}}
{{- end -}}

{{/* The entries as a JSON list, whether they are a list or a map, with what is deployed beneath. */}}
{{- define "dynamo-vllm.entries" -}}
{{- $entries := list -}}
{{- if kindIs "map" .Values.workers -}}
{{- range $name, $entry := .Values.workers -}}
{{- if $entry -}}
{{- $entries = append $entries (merge (dict "name" (default $name $entry.name)) $entry) -}}
{{- end -}}
{{- end -}}
{{- else -}}
{{- $deployed := include "dynamo-vllm.deployed" . | fromJsonArray -}}
{{- range $index, $entry := .Values.workers -}}
{{- if not $entry -}}
{{- fail (printf "workers[%d]: the entry is empty; entries of a list have to be given without gaps" $index) -}}
{{- end -}}
{{- if and (lt $index (len $deployed)) (not $entry.name) (not $entry.workerType) -}}
{{- $entry = mergeOverwrite (deepCopy (index $deployed $index)) $entry -}}
{{- end -}}
{{- $entries = append $entries $entry -}}
{{- end -}}
{{- end -}}
{{- toJson $entries -}}
{{- end -}}

{{/* The list of entries that the deployed release was made from; empty when there is none. */}}
{{- define "dynamo-vllm.deployed" -}}
{{- $deployed := list -}}
{{- if and .Values.continueWorkers .Release.IsUpgrade -}}
{{- $config := lookup "v1" "ConfigMap" (include "dynamo-vllm.namespace" .) (printf "%s-workers" (include "dynamo-vllm.fullname" .)) -}}
{{- with $config -}}
{{- $deployed = index .data "workers.json" | fromJsonArray -}}
{{- end -}}
{{- end -}}
{{- toJson $deployed -}}
{{- end -}}

{{/*
Requests and limits of one container, with what is missing: a side that is not given is like the other
one, and where neither is given there are defaults. Takes `given`, `gpu` (a default) and `where`.
*/}}
{{- define "dynamo-vllm.resources" -}}
{{- $given := default dict .given -}}
{{- $requests := default dict $given.requests -}}
{{- $limits := default dict $given.limits -}}
{{- $where := .where -}}
{{- $result := dict "requests" dict "limits" dict -}}
{{- range $name, $default := dict "cpu" (list "1" "2") "memory" (list "4Gi" "8Gi") "gpu" (list .gpu .gpu) -}}
{{- $request := get $requests $name -}}
{{- $limit := get $limits $name -}}
{{- $noRequest := or (kindIs "invalid" $request) (eq (toString $request) "") -}}
{{- $noLimit := or (kindIs "invalid" $limit) (eq (toString $limit) "") -}}
{{- if and $noRequest $noLimit -}}
{{- $request = index $default 0 -}}
{{- $limit = index $default 1 -}}
{{- else if $noRequest -}}
{{- $request = $limit -}}
{{- else if $noLimit -}}
{{- $limit = $request -}}
{{- end -}}
{{- if and (eq $name "gpu") (ne (toString $request) (toString $limit)) -}}
{{- fail (printf "%s.resources: %v GPUs are requested and %v are the limit; Kubernetes shares no GPU, so both have to be the same" $where $request $limit) -}}
{{- end -}}
{{- if or (ne $name "gpu") (ne (toString $request) "0") -}}
{{- $_ := set $result.requests $name (toString $request) -}}
{{- $_ := set $result.limits $name (toString $limit) -}}
{{- end -}}
{{- end -}}
{{- toJson $result -}}
{{- end -}}
