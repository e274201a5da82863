{{/* The first part of every name: the release's, with the chart's if it does not hold it. */}}
{{- define "celadon.fullname" -}}
{{- $name := contains .Chart.Name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) -}}
{{- $name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Names of Kubernetes have no underscores, lanes may: data_sync is data-sync there. Takes the lane's name. */}}
{{- define "celadon.worker" -}}
worker-{{ . | replace "_" "-" }}
{{- end }}

{{/* What a Deployment knows its pods by. Takes root and component. */}}
{{- define "celadon.selector" -}}
app.kubernetes.io/name: celadon
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "celadon.labels" -}}
{{ include "celadon.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{/* The name of the Secret that holds the variables: yours, or the one the chart makes. */}}
{{- define "celadon.secret" -}}
{{ .Values.existingSecret | default (include "celadon.fullname" .) }}
{{- end }}

{{/* Variables from the Secret, by their names. Takes root, names, and secret for another Secret than the usual. */}}
{{- define "celadon.secretEnv" -}}
{{- range .names }}
- name: {{ . }}
  valueFrom:
    secretKeyRef:
      name: {{ $.secret | default (include "celadon.secret" $.root) }}
      key: {{ . }}
      {{- if has . (list "REDIS_URL" "SENTRY_DSN" "FLOWER_COOKIE_SECRET") }}
      optional: true
      {{- end }}
{{- end }}
{{- end }}

{{/* A setting as the environment writes it: a whole number must not become 8.388608e+06. */}}
{{- define "celadon.setting" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{ printf "%.0f" . }}
{{- else -}}
{{ . }}
{{- end -}}
{{- end }}

{{/* New pods whenever what they were started with has changed, and where Prometheus finds their metrics. */}}
{{- define "celadon.podAnnotations" -}}
checksum/config: {{ include "celadon.config" . | sha256sum }}
checksum/secret: {{ toYaml .Values.secrets | sha256sum }}
prometheus.io/scrape: "true"
prometheus.io/port: "9464"
prometheus.io/path: /metrics
{{- end }}

{{/* Of every pod: no token of the API server, no root, no system call beyond the usual, and a place to write. */}}
{{- define "celadon.pod" -}}
{{- if and .Values.config.BROKER_CA_FILE (not .Values.caSecret) }}
  {{- fail (printf "config.BROKER_CA_FILE=%s is a file that no pod has; name in caSecret a Secret that holds it, and write /etc/celadon-ca/KEY" .Values.config.BROKER_CA_FILE) }}
{{- end -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
volumes:
  # In memory: heartbeats and metrics are written every few seconds.
  - name: tmp
    emptyDir:
      medium: Memory
      sizeLimit: 64Mi
{{- with .Values.caSecret }}
  - name: ca
    secret:
      secretName: {{ . }}
{{- end }}
{{- end }}

{{/* Of every container. */}}
{{- define "celadon.container" -}}
{{- if eq .Values.image.tag "latest" }}
  {{- fail "image.tag=latest is refused, for two pods might run two versions; name a version, or leave it to the chart's appVersion" }}
{{- end -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
volumeMounts:
  - name: tmp
    mountPath: /tmp
{{- if .Values.caSecret }}
  - name: ca
    mountPath: /etc/celadon-ca
    readOnly: true
{{- end }}
{{- end }}

{{/* Of workers and Beat, which listen nowhere: the process touches a file every few seconds while it lives, and a
second file stands beside it while it is ready. Neither asks the ledger or the broker: restarting workers because a
database is away would only add to its trouble. Takes periodSeconds and failureThreshold. */}}
{{- define "celadon.heartbeatProbes" -}}
startupProbe:
  exec:
    command: [test, -e, /tmp/heartbeat]
  periodSeconds: 5
  failureThreshold: 30
livenessProbe:
  exec:
    command: [sh, -c, 'test -n "$(find /tmp/heartbeat -mmin -1)"']
  periodSeconds: {{ .periodSeconds }}
  timeoutSeconds: 5
  failureThreshold: {{ .failureThreshold }}
readinessProbe:
  exec:
    command: [test, -e, /tmp/heartbeat.ready]
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{- define "celadon.heartbeatEnv" -}}
- name: HEARTBEAT_FILE
  value: /tmp/heartbeat
- name: METRICS_BIND
  value: 0.0.0.0:9464
{{- end }}

{{/* Of web, Beat and workers: the registration file, if the values bring one. As a whole folder, for Kubernetes renews
files of a folder when their ConfigMap changes, and the processes read it again. */}}
{{- define "celadon.delegationVolume" -}}
{{- if .Values.delegation.file -}}
{{- if .Values.config.DELEGATION_FILE }}
  {{- fail "delegation.file and config.DELEGATION_FILE are both set, so that one would be ignored; leave one out" }}
{{- end -}}
- name: delegation
  configMap:
    name: {{ include "celadon.fullname" . }}-delegation
{{- end }}
{{- end }}

{{- define "celadon.delegationMount" -}}
{{- if .Values.delegation.file -}}
- name: delegation
  mountPath: /etc/celadon-delegation
  readOnly: true
{{- end }}
{{- end }}

{{- define "celadon.delegationEnv" -}}
{{- if .Values.delegation.file -}}
- name: DELEGATION_FILE
  value: /etc/celadon-delegation/delegation.toml
{{- end }}
{{- end }}

{{/* Where the fleet tells of itself. */}}
{{- define "celadon.fleetPort" -}}
{{ include "celadon.setting" (.Values.config.PORT | default 3019) }}
{{- end }}
