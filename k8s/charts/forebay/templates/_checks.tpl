{{/* Values that are right each by itself and wrong together: the render ends with what would be right. */}}
{{- define "forebay.checks" -}}
{{- $v := .Values -}}
{{- $wrong := list -}}
{{- $shared := include "forebay.isShared" . -}}

{{- if and $v.redis.enabled (ne $v.pool.kind "redis") }}
{{- $wrong = append $wrong (printf "redis.enabled brings a Redis that pool.kind %q does not use: pool.kind must be redis" $v.pool.kind) }}
{{- end }}
{{- if and $v.redis.enabled (or $v.pool.url $v.pool.urlFrom.secret) }}
{{- $wrong = append $wrong "redis.enabled brings the pool's URL itself: leave pool.url and pool.urlFrom.secret empty, or redis.enabled false" }}
{{- end }}
{{- if and $v.pool.url $v.pool.urlFrom.secret }}
{{- $wrong = append $wrong "pool.url and pool.urlFrom.secret both say where the pool is: one of them" }}
{{- end }}
{{- if and $shared (not (or $v.redis.enabled $v.pool.url $v.pool.urlFrom.secret)) }}
{{- $wrong = append $wrong (printf "pool.kind %s wants pool.url (such as %s), pool.urlFrom.secret%s" $v.pool.kind (eq $v.pool.kind "redis" | ternary "redis://redis.cache.svc:6379/0" "memcached://a:11211,b:11211") (eq $v.pool.kind "redis" | ternary ", or redis.enabled for dev" "")) }}
{{- end }}
{{- if and $v.pool.url (not (hasPrefix $v.pool.kind $v.pool.url)) }}
{{- $wrong = append $wrong (printf "pool.url %q is not of pool.kind %s" $v.pool.url $v.pool.kind) }}
{{- end }}
{{- if and $v.secrets.poolPassword.enabled $v.redis.enabled }}
{{- $wrong = append $wrong "the Redis of redis.enabled wants no password: secrets.poolPassword.enabled must be false" }}
{{- end }}
{{- $url := include "forebay.poolUrl" . }}
{{- if and $v.secrets.poolCa.enabled $url (not (regexMatch "^(rediss|rediss[+](sentinel|cluster)|memcacheds)://" $url)) }}
{{- $wrong = append $wrong (printf "secrets.poolCa is for TLS, and the pool's URL %q has none: rediss:// or memcacheds://" $url) }}
{{- end }}

{{- if and (or $v.secrets.poolPassword.enabled $v.secrets.poolCa.enabled) (not $shared) }}
{{- $wrong = append $wrong (printf "secrets.poolPassword and secrets.poolCa are for redis and memcached, not for pool.kind %s" $v.pool.kind) }}
{{- end }}
{{- if and (eq $v.pool.kind "memcached") $v.secrets.poolPassword.enabled $v.pool.url (not (contains "@" $v.pool.url)) }}
{{- $wrong = append $wrong "Memcached's password is a user's, whom pool.url names: memcached://user@host:11211" }}
{{- end }}
{{- if and $v.gate.hold.enabled (not $shared) }}
{{- $wrong = append $wrong (printf "gate.hold wants a gate, and pool.kind %s has none: pool.kind redis or memcached" $v.pool.kind) }}
{{- end }}
{{- if and $v.gate.hold.scaler (not $v.gate.hold.enabled) }}
{{- $wrong = append $wrong "gate.hold.scaler says who waits at the gate, and nobody does: gate.hold.enabled true" }}
{{- end }}
{{- if and (eq $v.gate.hold.wake "scale") (not $v.gate.hold.enabled) }}
{{- $wrong = append $wrong "gate.hold.wake scale wakes a backend for who waits at the gate, and nobody does: gate.hold.enabled true" }}
{{- end }}
{{- if gt (int $v.scaling.min) (int $v.scaling.max) }}
{{- $wrong = append $wrong (printf "scaling.min %d is more than scaling.max %d" (int $v.scaling.min) (int $v.scaling.max)) }}
{{- end }}
{{- if and (ne $v.scaling.mode "none") (eq (int $v.scaling.min) 0) (not $v.gate.hold.enabled) }}
{{- $wrong = append $wrong "scaling.min 0 wants gate.hold.enabled: at zero somebody must hold what comes, or it is answered 503" }}
{{- end }}
{{- if and (eq $v.scaling.mode "none") (eq (int $v.scaling.min) 0) }}
{{- $wrong = append $wrong "scaling.min 0 with scaling.mode none: nobody scales: mode hpa, keda or kserve, or backend.replicas" }}
{{- end }}
{{- if and (eq $v.scaling.mode "hpa") (eq (int $v.scaling.min) 0) (semverCompare "<1.37.0-0" .Capabilities.KubeVersion.Version) }}
{{- $wrong = append $wrong (printf "scaling.mode hpa goes to scaling.min 0 from Kubernetes 1.37 on, and this is %s: scaling.min 1 with gate.hold.wake scale, or scaling.mode keda. (Where no cluster is asked: --kube-version 1.37.0)" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- if and (eq $v.scaling.mode "keda") (not (and $v.gate.hold.enabled $v.gate.hold.scaler)) }}
{{- $wrong = append $wrong "scaling.mode keda asks the gate how many are wanted: gate.hold.enabled and gate.hold.scaler true" }}
{{- end }}
{{- if eq $v.scaling.metrics "gate" }}
{{- if ne $v.scaling.mode "hpa" }}
{{- $wrong = append $wrong (printf "scaling.metrics gate is for an HPA, and scaling.mode %s asks for none: scaling.mode hpa, or scaling.metrics prometheus-adapter" $v.scaling.mode) }}
{{- end }}
{{- if not $v.gate.hold.enabled }}
{{- $wrong = append $wrong "scaling.metrics gate tells what waits at the gate and what backends do, and it knows of neither: gate.hold.enabled true" }}
{{- end }}
{{- $there := lookup "apiregistration.k8s.io/v1" "APIService" "" "v1beta1.external.metrics.k8s.io" | default dict }}
{{- $by := dig "metadata" "annotations" (dict) $there }}
{{- $isOurs := and (eq (get $by "meta.helm.sh/release-name") .Release.Name) (eq (get $by "meta.helm.sh/release-namespace") .Release.Namespace) }}
{{- if and $there (not $isOurs) }}
{{- $wrong = append $wrong (printf "scaling.metrics gate: external.metrics.k8s.io has one owner in a cluster, and Service %s/%s is it: scaling.mode keda where that is KEDA's, else scaling.metrics prometheus-adapter" (dig "spec" "service" "namespace" "-" $there) (dig "spec" "service" "name" "-" $there)) }}
{{- end }}
{{- end }}
{{- if and (or $v.scaling.apiService.caBundle $v.scaling.apiService.certificate) (not $v.tls.secret) }}
{{- $wrong = append $wrong "scaling.apiService says by which CA the gate is believed, and its certificate is one of its own that nobody signs: tls.secret" }}
{{- end }}
{{- if and $v.scaling.apiService.caBundle $v.scaling.apiService.certificate }}
{{- $wrong = append $wrong "scaling.apiService.caBundle and scaling.apiService.certificate both say by which CA the gate is believed: one of them" }}
{{- end }}
{{- if eq $v.scaling.mode "kserve" }}
{{- $class := $v.scaling.kserve.class }}
{{- if and (eq $class "hpa") (eq (int $v.scaling.min) 0) }}
{{- $wrong = append $wrong "KServe's own HorizontalPodAutoscaler keeps one: scaling.min 1 (with gate.hold.wake scale somebody may set it to 0), or scaling.kserve.class external with gate.hold.scaler" }}
{{- end }}
{{- if not (dig "limits" "cpu" "" $v.backend.resources) }}
{{- $wrong = append $wrong "KServe sets a limit of 1 processor where none is said, be it less than what is asked for: backend.resources.limits.cpu" }}
{{- end }}
{{- if and (eq $class "keda") (not $v.scaling.prometheus) }}
{{- $wrong = append $wrong "scaling.kserve.class keda is KServe's ScaledObject, which asks Prometheus: scaling.prometheus says where it is" }}
{{- end }}
{{- if and (eq $v.gate.hold.wake "scale") (or (eq $class "none") (and (eq $class "keda") (eq (int $v.scaling.min) 0)) (and (eq $class "external") $v.gate.hold.scaler)) }}
{{- $wrong = append $wrong (printf "gate.hold.wake scale is for where nothing else says how many there are at zero, and scaling.kserve.class %s does: gate.hold.wake none" $class) }}
{{- end }}
{{- end }}
{{- if and (eq $v.gate.hold.wake "scale") (or (eq $v.scaling.mode "keda") (and (eq $v.scaling.mode "hpa") (eq (int $v.scaling.min) 0))) }}
{{- $wrong = append $wrong (printf "gate.hold.wake scale is for where nothing else goes from 0 to 1, and scaling.mode %s does: gate.hold.wake none" $v.scaling.mode) }}
{{- end }}
{{- if and $v.front.enabled (not $shared) }}
{{- $wrong = append $wrong (printf "the front's filter asks a gate, and pool.kind %s has none: pool.kind redis or memcached, or front.enabled false" $v.pool.kind) }}
{{- end }}
{{- if eq $v.trust.tenancy "required" }}
{{- if not $v.secrets.credentials.enabled }}
{{- $wrong = append $wrong "trust.tenancy required wants secrets.credentials.enabled: who may speak for which tenant" }}
{{- end }}
{{- if and $v.front.enabled (not $v.front.credential.enabled) }}
{{- $wrong = append $wrong "trust.tenancy required wants front.credential.enabled: gate and backend believe no tenant of a front that proves nothing" }}
{{- end }}
{{- if and $v.front.enabled (not $v.front.filter.tenant) }}
{{- $wrong = append $wrong "trust.tenancy required wants front.filter.tenant: a name, or {property: [connection, uri_san_peer_certificate]}" }}
{{- end }}
{{- else if $v.front.filter.tenant }}
{{- $wrong = append $wrong "front.filter.tenant means nothing with trust.tenancy none: required, or no tenant" }}
{{- end }}
{{- if and $v.front.credential.enabled (not $v.secrets.credentials.enabled) }}
{{- $wrong = append $wrong "front.credential proves the front to nobody: secrets.credentials.enabled says who is believed" }}
{{- end }}
{{- if eq $v.secrets.from "csi" }}
{{- if and (include "forebay.secretItems" (dict "Values" $v "isBackend" true)) (not $v.secrets.csi.backend) }}
{{- $wrong = append $wrong "secrets.from csi wants secrets.csi.backend, a SecretProviderClass" }}
{{- end }}
{{- if and $v.front.enabled $v.front.credential.enabled (not $v.secrets.csi.front) }}
{{- $wrong = append $wrong "secrets.from csi wants secrets.csi.front, a SecretProviderClass with the front's credential alone" }}
{{- end }}
{{- end }}

{{- if and $v.backend.gpu.count (not $v.backend.engines.claim) }}
{{- $wrong = append $wrong "backend.gpu.count wants backend.engines.claim, a claim that keeps compiled plans: without it every start compiles anew" }}
{{- end }}
{{- if and $v.backend.gpu.count (eq $v.backend.image.repository "forebay/serve") }}
{{- $wrong = append $wrong "backend.gpu.count wants an image that has TensorRT: backend.image.repository forebay/serve-gpu" }}
{{- end }}
{{- if and $v.backend.gpu.kind (not $v.backend.gpu.count) }}
{{- $wrong = append $wrong (printf "backend.gpu.kind %s without GPUs: backend.gpu.count" $v.backend.gpu.kind) }}
{{- end }}
{{- if and $v.backend.record.models (not $v.secrets.recordKey.enabled) }}
{{- $wrong = append $wrong "backend.record.models wants secrets.recordKey.enabled: records are encrypted always" }}
{{- end }}
{{- if and (not $v.backend.record.models) (or $v.secrets.recordKey.enabled $v.backend.record.claim) }}
{{- $wrong = append $wrong "secrets.recordKey and backend.record.claim are for records: backend.record.models names of which models" }}
{{- end }}
{{- if not $v.backend.record.models }}
{{- range $flag := list "record-share" "record-bytes" "record-age" "record-queue-bytes" "replay-within" "replay-share" }}
{{- if hasKey $v.backend.settings $flag }}
{{- $wrong = append $wrong (printf "backend.settings.%s is for records: backend.record.models names of which models" $flag) }}
{{- end }}
{{- end }}
{{- end }}
{{- if $v.backend.upstream.url }}
{{- $serves := dict "backend.gpu.count" $v.backend.gpu.count "backend.engines.claim" $v.backend.engines.claim "backend.record.models" $v.backend.record.models "optimize.model" $v.optimize.model }}
{{- range $name, $value := $serves }}
{{- if $value }}
{{- $wrong = append $wrong (printf "%s is for models that are served here, and backend.upstream.url says who serves them: one of them" $name) }}
{{- end }}
{{- end }}
{{- if eq $v.scaling.mode "kserve" }}
{{- $wrong = append $wrong "scaling.mode kserve serves models here, and backend.upstream.url says who serves them: one of them" }}
{{- end }}
{{- if and $v.backend.upstream.cacheModels (not $v.backend.upstream.generation) (eq $v.models.from "image") }}
{{- $wrong = append $wrong "backend.upstream.cacheModels are kept by what the server has loaded: backend.upstream.generation says it in a word, or models.from pvc where its files lie" }}
{{- end }}
{{- else }}
{{- range $flag := list "look-secs" "files-are-loaded" "to-timeout-secs" "to-load-timeout-secs" "to-max-requests" "to-max-answer-bytes" }}
{{- if hasKey $v.backend.settings $flag }}
{{- $wrong = append $wrong (printf "backend.settings.%s is for a server that computes elsewhere: backend.upstream.url" $flag) }}
{{- end }}
{{- end }}
{{- if or $v.backend.upstream.grpcUrl $v.backend.upstream.cacheModels $v.backend.upstream.generation $v.backend.upstream.peers }}
{{- $wrong = append $wrong "backend.upstream names no server: backend.upstream.url" }}
{{- end }}
{{- end }}
{{- if and $v.gate.keyTraces.enabled (not (include "forebay.isShared" .)) }}
{{- $wrong = append $wrong (printf "gate.keyTraces: pool.kind %s has no gate" $v.pool.kind) }}
{{- end }}
{{- if not $v.gate.keyTraces.enabled }}
{{- range $flag := list "key-trace-bytes" "key-trace-secs" }}
{{- if hasKey $v.gate.settings $flag }}
{{- $wrong = append $wrong (printf "gate.settings.%s is for traces of keys: gate.keyTraces.enabled" $flag) }}
{{- end }}
{{- end }}
{{- with $v.gate.keyTraces.claim }}
{{- $wrong = append $wrong (printf "gate.keyTraces.claim %s is for traces of keys: gate.keyTraces.enabled" .) }}
{{- end }}
{{- end }}
{{- if $v.optimize.model }}
{{- if ne $v.models.from "pvc" }}
{{- $wrong = append $wrong (printf "optimize.model: a variant is kept in the repository, and models.from %s can't be written to: pvc" $v.models.from) }}
{{- end }}
{{- if not (or $v.optimize.data.claim (and $v.secrets.recordKey.enabled $v.backend.record.claim)) }}
{{- $wrong = append $wrong "optimize.model wants data: optimize.data.claim, or records of the backend's (backend.record.models and backend.record.claim)" }}
{{- end }}
{{- if and (not $v.optimize.data.claim) $v.backend.record.models (not (has $v.optimize.model $v.backend.record.models)) }}
{{- $wrong = append $wrong (printf "optimize.model %s is not recorded: backend.record.models names it, or optimize.data.claim other data" $v.optimize.model) }}
{{- end }}
{{- if lt (int64 $v.optimize.deadlineSecs) (add (int64 $v.optimize.timeSecs) 300) }}
{{- $wrong = append $wrong (printf "optimize.deadlineSecs %d ends the verdict too: at least five minutes beyond optimize.timeSecs %d" (int64 $v.optimize.deadlineSecs) (int64 $v.optimize.timeSecs)) }}
{{- end }}
{{- if and (not $v.optimize.data.claim) (or $v.optimize.settings.labels $v.optimize.settings.groups) }}
{{- $wrong = append $wrong "optimize.settings: records have neither labels nor groups: optimize.data.claim has data that do" }}
{{- end }}
{{- else if or $v.optimize.schedule $v.optimize.data.claim }}
{{- $wrong = append $wrong "optimize.schedule and optimize.data.claim are for a Job: optimize.model names of which model" }}
{{- end }}
{{- if and $v.front.onDemand.models (or (not $v.front.onDemand.release) (eq $v.front.onDemand.release .Release.Name)) }}
{{- $wrong = append $wrong "front.onDemand.models want backends of their own: front.onDemand.release names another release, which has them" }}
{{- end }}
{{- if and (not $v.front.onDemand.models) $v.front.onDemand.release }}
{{- $wrong = append $wrong (printf "front.onDemand.release %s is asked nothing: front.onDemand.models names of which models" $v.front.onDemand.release) }}
{{- end }}
{{- if and $v.front.onDemand.models (ne $v.scaling.mode "none") (eq (int $v.scaling.min) 0) }}
{{- $wrong = append $wrong (printf "scaling.min 0 lets the hot backends go, whose models are to be ready: scaling.min 1 here, and scaling.min 0 of release %s, which has front.onDemand.models" $v.front.onDemand.release) }}
{{- end }}
{{- if and (eq $v.models.from "pvc") (not $v.models.pvc.claim) }}
{{- $wrong = append $wrong "models.from pvc wants models.pvc.claim" }}
{{- end }}
{{- if and (eq $v.models.from "oci") (not $v.models.oci.reference) }}
{{- $wrong = append $wrong "models.from oci wants models.oci.reference, an image" }}
{{- end }}
{{- if and (eq $v.models.from "init") (not (and $v.models.init.image $v.models.init.command)) }}
{{- $wrong = append $wrong "models.from init wants models.init.image and models.init.command" }}
{{- end }}

{{- if and (eq (toString $v.backend.rollout.maxSurge) "0") (eq (toString $v.backend.rollout.maxUnavailable) "0") }}
{{- $wrong = append $wrong "backend.rollout allows no pod more and none fewer: one of maxSurge and maxUnavailable must be above 0" }}
{{- end }}
{{- range $name := list "backend" "gate" }}
{{- $settings := (index $v $name).settings }}
{{- if ge (float64 (index $settings "drain-secs")) (float64 (index $settings "exit-timeout-secs")) }}
{{- $wrong = append $wrong (printf "%s.settings: exit-timeout-secs bounds the whole end, so drain-secs must be less" $name) }}
{{- end }}
{{- end }}

{{- with $wrong }}
{{- fail (printf "\n\n  values that don't fit together:\n  - %s\n" (join "\n  - " .)) }}
{{- end }}
{{- end }}
