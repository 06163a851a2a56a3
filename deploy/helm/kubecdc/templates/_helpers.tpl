{{- define "kubecdc.name" -}}
{{- if eq .Release.Name .Chart.Name }}{{ .Release.Name }}{{ else }}{{ printf "%s-kubecdc" .Release.Name | trunc 50 | trimSuffix "-" }}{{ end -}}
{{- end -}}

{{- define "kubecdc.selector" -}}
app.kubernetes.io/name: kubecdc
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "kubecdc.labels" -}}
{{ include "kubecdc.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion }}
app.kubernetes.io/part-of: kubecdc
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{- define "kubecdc.embedded" -}}{{ if eq .Values.bus.type "embedded" }}true{{ end }}{{- end -}}

{{/* The spec of the EventBus, as a document. */}}
{{- define "kubecdc.bus" -}}
{{- $default := dict
  "embedded" (dict "sqlite" (dict "path" "/var/lib/kubecdc/kubecdc.db"))
  "redis" (dict "redis" (dict "url" "redis://redis.kubecdc.svc:6379/0" "password" (dict "name" "kubecdc-redis" "key" "password") "partitions" 64))
  "sqs" (dict "sqs" (dict "region" "eu-west-1" "queuePrefix" "kubecdc" "fifo" true))
  "pubsub" (dict "pubsub" (dict "projectID" "my-project" "topic" "kubecdc")) -}}
{{- $spec := .Values.bus.spec | default (get $default .Values.bus.type) -}}
{{- $checkpoint := include "kubecdc.checkpoint" . -}}
{{- if and $checkpoint (ne (include "kubecdc.name" .) .Chart.Name) -}}
{{- $spec = set (deepCopy $spec) "checkpoint" (dict "configMap" (fromJson $checkpoint)) -}}
{{- end -}}
apiVersion: kubecdc.io/v1alpha1
kind: EventBus
metadata: {name: default}
spec: {{- toYaml $spec | nindent 2 }}
{{- end -}}

{{/* Name and namespace of the ConfigMap of the checkpoint, if it is in one. Without a name in the values, each release has its own. */}}
{{- define "kubecdc.checkpoint" -}}
{{- $store := .Values.bus.spec.checkpoint | default (dict "configMap" dict) -}}
{{- if and (has .Values.bus.type (list "sqs" "pubsub")) (hasKey $store "configMap") -}}
{{- $own := dict "name" (print (include "kubecdc.name" .) "-checkpoint") "namespace" .Release.Namespace -}}
{{- merge (deepCopy ($store.configMap | default dict)) $own | toJson -}}
{{- end -}}
{{- end -}}

{{/* The Secrets to mount: those of the values, and without a spec of the bus, that of the default for Redis. */}}
{{- define "kubecdc.secrets" -}}
{{- $names := .Values.secrets -}}
{{- if and (eq .Values.bus.type "redis") (not .Values.bus.spec) }}{{ $names = append $names "kubecdc-redis" }}{{ end -}}
{{- uniq $names | toJson -}}
{{- end -}}

{{- define "kubecdc.manifests" -}}
{{- if .Values.manifests }}{{ toYaml .Values.manifests }}{{ else -}}
manifests.yaml: |
{{ .Files.Get "files/manifests.yaml" | indent 2 }}
{{- end -}}
{{- end -}}

{{/* A pod template. Of a list: the root, the component, the command, its values, the account, whether it has a token. */}}
{{- define "kubecdc.pod" -}}
{{- $root := index . 0 -}}{{- $component := index . 1 -}}{{- $command := index . 2 -}}{{- $values := index . 3 -}}
{{- $account := index . 4 -}}{{- $token := index . 5 -}}{{- $name := include "kubecdc.name" $root -}}
metadata:
  labels:
    {{- include "kubecdc.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $component }}
  annotations: # another bus replaces the pods; they read other changed manifests by themselves
    checksum/bus: {{ include "kubecdc.bus" $root | sha256sum }}
spec:
  serviceAccountName: {{ $account }}
  automountServiceAccountToken: {{ $token }}
  enableServiceLinks: false
  # A process ends within 5 s of SIGTERM. There is no preStop hook: nobody sends requests here that had to be waited for.
  terminationGracePeriodSeconds: 30
  {{- with $root.Values.imagePullSecrets }}
  imagePullSecrets: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.affinity }}
  affinity: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if ne $component "run" }}
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "kubecdc.selector" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $component }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    {{- if eq $component "run" }}
    fsGroup: 65532
    fsGroupChangePolicy: OnRootMismatch
    {{- end }}
    seccompProfile: {type: RuntimeDefault}
  containers:
    - name: kubecdc
      image: "{{ $root.Values.image.repository }}:{{ $root.Values.image.tag | default $root.Chart.AppVersion }}"
      {{- if ne $root.Values.image.pullPolicy "IfNotPresent" }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      {{- end }}
      command: [kubecdc]
      args:
        - {{ $command }}
        - --filename=/etc/kubecdc/bus
        - --filename=/etc/kubecdc/manifests
        - --log-format=json
        - --metrics-bind-address=:9464
        - --health-bind-address=:9465
        {{- range $values.extraArgs }}
        - {{ . | quote }}
        {{- end }}
      {{- $env := $values.env | default list }}
      {{- if and (eq $component "watcher") (ne $name $root.Chart.Name) }}
      {{- /* Its own Lease. Not an argument, so that commands in the pod know it too: `kubecdc audit --repair`. */ -}}
      {{- $env = prepend $env (dict "name" "KUBECDC_LEASE_NAME" "value" $name) }}
      {{- end }}
      {{- with $env }}
      env: {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - {name: metrics, containerPort: 9464}
        - {name: health, containerPort: 9465}
      startupProbe: {httpGet: {path: /startupz, port: health}, periodSeconds: 2, failureThreshold: 60}
      livenessProbe: {httpGet: {path: /livez, port: health}, periodSeconds: 10, timeoutSeconds: 5, failureThreshold: 3}
      readinessProbe: {httpGet: {path: /readyz, port: health}, periodSeconds: 10, timeoutSeconds: 5}
      resources: {{- toYaml $root.Values.resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: bus, mountPath: /etc/kubecdc/bus, readOnly: true}
        - {name: manifests, mountPath: /etc/kubecdc/manifests, readOnly: true}
        {{- if eq $component "run" }}
        - {name: data, mountPath: /var/lib/kubecdc}
        {{- end }}
        {{- range include "kubecdc.secrets" $root | fromJsonArray }}
        - {name: {{ trimPrefix (print $name "-") . }}, mountPath: /argo-events/secrets/{{ . }}, readOnly: true}
        {{- end }}
  volumes:
    - {name: bus, configMap: {name: {{ $name }}-bus}}
    - {name: manifests, configMap: {name: {{ $name }}-manifests}}
    {{- if eq $component "run" }}
    - {name: data, persistentVolumeClaim: {claimName: {{ $name }}-run}}
    {{- end }}
    {{- range include "kubecdc.secrets" $root | fromJsonArray }}
    - {name: {{ trimPrefix (print $name "-") . }}, secret: {secretName: {{ . }}}}
    {{- end }}
{{- end -}}
