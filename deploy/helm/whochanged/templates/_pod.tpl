{{- define "whochanged.labels" -}}
app.kubernetes.io/name: whochanged
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "whochanged.selector" -}}
app.kubernetes.io/name: whochanged
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .role }}
{{- end }}

{{- define "whochanged.name" -}}
{{ printf "%s-%s" .root.Release.Name .role | trunc 52 | trimSuffix "-" }}
{{- end }}

{{/* Values that are files, as what they are mounted in /etc/whochanged, and the variable that names them. */}}
{{- define "whochanged.readFiles" -}}
access: { file: access.yaml, variable: WHOCHANGED_ACCESS_FILE }
alerts: { file: alerts.yaml, variable: WHOCHANGED_ALERTS_FILE }
identities: { file: identities.yaml, variable: WHOCHANGED_IDENTITIES_FILE }
policy: { file: policy.yaml, variable: WHOCHANGED_POLICY_FILE }
redactionRules: { file: redaction-rules.yaml, variable: WHOCHANGED_REDACTION_RULES_FILE }
reports: { file: reports.yaml, variable: WHOCHANGED_REPORTS_FILE }
{{- end }}

{{/* The data of the ConfigMap that holds them. */}}
{{- define "whochanged.fileData" -}}
{{- $data := deepCopy .Values.files -}}
{{- range $value, $read := include "whochanged.readFiles" . | fromYaml -}}
{{- with get $.Values $value }}{{ $_ := set $data $read.file . }}{{ end -}}
{{- end -}}
{{- toYaml $data -}}
{{- end }}

{{/* The pod of a role. Everything that is written lies under /data; the root file system is read-only. */}}
{{- define "whochanged.pod" -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- include "whochanged.labels" . | nindent 4 }}
  annotations:
    checksum/files: {{ include "whochanged.fileData" .root | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ .root.Release.Name }}
  automountServiceAccountToken: false
  # A batch that is being committed, and the spool's last write, are given the time they need.
  terminationGracePeriodSeconds: 60
  {{- with $values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 1000
    runAsGroup: 1000
    fsGroup: 1000
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: { type: RuntimeDefault }
  topologySpreadConstraints:
    - maxSkew: 1
      topologyKey: kubernetes.io/hostname
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "whochanged.selector" . | nindent 10 }}
  containers:
    - name: {{ .role }}
      image: "{{ $values.image.repository }}:{{ $values.image.tag | default .root.Chart.AppVersion }}"
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args: ["--roles", {{ .role | quote }}]
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: { drop: [ALL] }
      env:
        - name: DATABASE_URL
          valueFrom: { secretKeyRef: { name: {{ $values.secrets.database | quote }}, key: url } }
        - { name: WHOCHANGED_PUBLIC_URL, value: {{ $values.publicURL | quote }} }
        - { name: WHOCHANGED_LOG_ORIGIN, value: {{ $values.logOrigin | quote }} }
        - { name: WHOCHANGED_LOG_LEVEL, value: {{ $values.logLevel | quote }} }
        - { name: WHOCHANGED_REDACTION_KEY_FILE, value: /keys/redaction.key }
        - { name: WHOCHANGED_LOG_KEY_FILE, value: /keys/log.key }
        - { name: WHOCHANGED_TLS_CERT_FILE, value: /tls/tls.crt }
        - { name: WHOCHANGED_TLS_KEY_FILE, value: /tls/tls.key }
        {{- if eq .role "ingest" }}
        - { name: WHOCHANGED_SPOOL_MAX_BYTES, value: {{ $values.ingest.spool.maxBytes | quote }} }
        {{- end }}
        {{- if $values.secrets.credentials }}
        - { name: WHOCHANGED_CREDENTIALS_DIR, value: /credentials }
        {{- end }}
        {{- range $value, $read := include "whochanged.readFiles" . | fromYaml }}
        {{- if get $values $value }}
        - { name: {{ $read.variable }}, value: /etc/whochanged/{{ $read.file }} }
        {{- end }}
        {{- end }}
        {{- range $name, $value := $values.config }}
        - { name: {{ $name }}, value: {{ $value | quote }} }
        {{- end }}
      ports:
        - { name: https, containerPort: 8443 }
      startupProbe:
        httpGet: { path: /healthz, port: https, scheme: HTTPS }
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet: { path: /healthz, port: https, scheme: HTTPS }
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        # The receiver takes events while Postgres is away; only questions need it.
        httpGet: { path: {{ if eq .role "api" }}/readyz{{ else }}/healthz{{ end }}, port: https, scheme: HTTPS }
        periodSeconds: 5
        timeoutSeconds: 5
      resources:
        {{- toYaml (get $values .role).resources | nindent 8 }}
      volumeMounts:
        - { name: data, mountPath: /data }
        - { name: tmp, mountPath: /tmp }
        - { name: keys, mountPath: /keys, readOnly: true }
        - { name: tls, mountPath: /tls, readOnly: true }
        - { name: files, mountPath: /etc/whochanged, readOnly: true }
        {{- if $values.secrets.credentials }}
        - { name: credentials, mountPath: /credentials, readOnly: true }
        {{- end }}
  volumes:
    - { name: tmp, emptyDir: {} }
    {{- if eq .role "api" }}
    - { name: data, emptyDir: {} }
    {{- else if eq .role "jobs" }}
    - { name: data, emptyDir: { sizeLimit: {{ $values.jobs.mirrors.size }} } }
    {{- end }}
    - { name: keys, secret: { secretName: {{ $values.secrets.keys | quote }}, defaultMode: 0440 } }
    - { name: tls, secret: { secretName: {{ $values.secrets.tls | quote }}, defaultMode: 0440 } }
    - { name: files, configMap: { name: {{ .root.Release.Name }}-files } }
    {{- if $values.secrets.credentials }}
    - { name: credentials, secret: { secretName: {{ $values.secrets.credentials | quote }}, defaultMode: 0440 } }
    {{- end }}
{{- end }}
