{{- define "msaas.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{- end -}}
{{- end -}}

{{- define "msaas.selector" -}}
app.kubernetes.io/name: msaas
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "msaas.labels" -}}
{{ include "msaas.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "msaas.metadata" -}}
name: {{ include "msaas.fullname" .root }}-{{ .component }}
labels: {{- include "msaas.labels" . | nindent 2 }}
{{- end -}}

{{- define "msaas.image" -}}
{{- with .Values.image -}}
{{- if .digest }}{{ .repository }}@{{ .digest }}
{{- else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "msaas.secretName" -}}
{{ .Values.secret.existingSecret | default (printf "%s-secret" (include "msaas.fullname" .)) }}
{{- end -}}

{{- define "msaas.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "msaas.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities: {drop: [ALL]}
{{- end -}}

{{- /* Whether the trial Redis, the trial store are in use: "true" or nothing. */ -}}
{{- define "msaas.trialRedis" -}}
{{- if and .Values.redis.enabled (not .Values.queue.url) }}true{{ end -}}
{{- end -}}
{{- define "msaas.trialS3" -}}
{{- if and .Values.s3.enabled (not .Values.store.endpoint) }}true{{ end -}}
{{- end -}}

{{- /* Whether a worker may have to ask the model's publisher: "true" or nothing. */ -}}
{{- define "msaas.fetchesModel" -}}
{{- if has .Values.model.source (list "store" "pull") }}true{{ end -}}
{{- end -}}

{{- /* Configuration of all roles. The Secret comes last, so that its MSAAS_QUEUE wins. */ -}}
{{- define "msaas.envFrom" -}}
- configMapRef: {name: {{ include "msaas.fullname" . }}-config}
- secretRef: {name: {{ include "msaas.secretName" . }}}
{{- end -}}

{{- /* spec.replicas of a Deployment. Where an autoscaler decides, what runs stays: without the
field the API server would make it 1 when the autoscaler is switched on. Where Helm applies on the
server (Helm 4), the autoscaler alone has the field once it has set it, by the subresource "scale":
a rollback would else bring back a number of then, which the server refuses. */ -}}
{{- define "msaas.replicas" -}}
{{- if not .autoscaled -}}
replicas: {{ .replicas }}
{{- else -}}
{{- $name := printf "%s-%s" (include "msaas.fullname" .root) .component -}}
{{- with lookup "apps/v1" "Deployment" .root.Release.Namespace $name -}}
{{- $scaled := false -}}
{{- $applied := false -}}
{{- range .metadata.managedFields -}}
{{- $scaled = or $scaled (eq (.subresource | default "") "scale") -}}
{{- $applied = or $applied (and (eq .manager "helm") (eq .operation "Apply")) -}}
{{- end -}}
{{- if not (and $scaled $applied) -}}
replicas: {{ .spec.replicas }}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "msaas.podMeta" -}}
labels:
  {{- include "msaas.labels" . | nindent 2 }}
  {{- with .root.Values.podLabels }}{{ toYaml . | nindent 2 }}{{ end }}
annotations:
  checksum/config: {{ include (print .root.Template.BasePath "/config.yaml") .root | sha256sum }}
  {{- /* Of the values, not of the Secret, whose generated key differs at each rendering. */}}
  checksum/secret: {{ .root.Values.secret | toJson | sha256sum }}
  {{- with .root.Values.podAnnotations }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end -}}

{{- define "msaas.podCommon" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext: {{- include "msaas.podSecurity" .root | nindent 2 }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "msaas.disruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{- include "msaas.metadata" . | nindent 2 }}
spec:
  maxUnavailable: 1
  {{- /* While Redis or S3 is away no pod is ready, and a node that is drained need not wait. */}}
  {{- if semverCompare ">=1.27-0" .root.Capabilities.KubeVersion.Version }}
  unhealthyPodEvictionPolicy: AlwaysAllow
  {{- end }}
  selector:
    matchLabels: {{- include "msaas.selector" . | nindent 6 }}
{{- end -}}

{{- /* Name servers: the cluster's pods, a node's cache (NodeLocal DNSCache), GKE's Cloud DNS */ -}}
{{- define "msaas.egressDNS" -}}
- to:
    - namespaceSelector: {}
      podSelector:
        matchExpressions: [{key: k8s-app, operator: In, values: [kube-dns, node-local-dns]}]
    - {ipBlock: {cidr: 169.254.20.10/32}}
    - {ipBlock: {cidr: 169.254.169.254/32}}
  ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
{{- end -}}

{{- /* Ports of the external services: those named, and those in the URLs. */ -}}
{{- define "msaas.servicePorts" -}}
{{- $ports := list }}
{{- range .Values.networkPolicy.servicePorts }}{{ $ports = append $ports (int .) }}{{ end }}
{{- range list .Values.queue.url .Values.store.endpoint .Values.model.url }}
{{- if contains "://" . }}
{{- $port := regexFind ":[0-9]+$" (get (urlParse .) "host") | trimPrefix ":" }}
{{- if $port }}{{ $ports = append $ports (int $port) }}{{ end }}
{{- end }}
{{- end }}
{{- $ports | uniq | toJson }}
{{- end -}}

{{- /* To Redis and S3: the trial pods, or the external ones. */ -}}
{{- define "msaas.egressServices" -}}
{{ include "msaas.egressDNS" . }}
{{- $parts := list }}
{{- if include "msaas.trialRedis" . }}{{ $parts = append $parts (list "redis" 6379) }}{{ end }}
{{- if include "msaas.trialS3" . }}{{ $parts = append $parts (list "s3" 9000) }}{{ end }}
{{- range $parts }}
- to:
    - podSelector:
        matchLabels:
          {{- include "msaas.selector" (dict "root" $ "component" (first .)) | nindent 10 }}
  ports: [{protocol: TCP, port: {{ last . }}}]
{{- end }}
{{- $v := .Values }}
{{- if or $v.queue.url $v.store.endpoint $v.secret.existingSecret $v.model.url }}
- ports:
    {{- range include "msaas.servicePorts" . | fromJsonArray }}
    - {protocol: TCP, port: {{ . }}}
    {{- end }}
  {{- with .Values.networkPolicy.serviceCIDRs }}
  to:
    {{- range . }}
    - ipBlock: {cidr: {{ . }}}
    {{- end }}
  {{- end }}
{{- end }}
{{- end -}}
{{- define "msaas.egressPublic" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
          [0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12,
           192.168.0.0/16, 224.0.0.0/4]
    - ipBlock:
        cidr: 2000::/3
  ports: [{protocol: TCP, port: 80}, {protocol: TCP, port: 443}]
{{- end -}}
