// node check.mjs NAME < MANIFESTS: every document against its Kubernetes schema, and every pod
// against Pod Security's "restricted" profile and the house's own rules. Prints what is wrong; exit
// code 1 if anything. Modules come from NODE_PATH's folder (scripts/test-deploy).
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.env.MSAAS_NODE_MODULES + "/");
const yaml = require("js-yaml");

// Kinds of others, whose schemas no package brings: what must be there.
const FOREIGN = {
  "keda.sh/v1alpha1/ScaledObject": ["scaleTargetRef", "triggers"],
  "monitoring.coreos.com/v1/ServiceMonitor": ["selector", "endpoints"],
  "monitoring.coreos.com/v1/PodMonitor": ["selector", "podMetricsEndpoints"],
  "cloud.google.com/v1/BackendConfig": ["healthCheck", "timeoutSec"],
};
const ALLOWED_VOLUMES = ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral",
  "persistentVolumeClaim", "projected", "secret"];

const problems = [];
const name = process.argv[2] ?? "manifests";

function complain(doc, text) {
  problems.push(`${name}: ${doc?.kind}/${doc?.metadata?.name}: ${text}`);
}

function checkSchema(doc) {
  const foreign = FOREIGN[`${doc.apiVersion}/${doc.kind}`];
  if (foreign) {
    for (const field of foreign)
      if (doc.spec?.[field] === undefined) complain(doc, `lacks spec.${field}`);
    return;
  }
  let Model;
  try {
    Model = require(`kubernetes-models/${doc.apiVersion}`)[doc.kind];
  } catch {
    Model = undefined;
  }
  if (!Model) return complain(doc, `no schema for ${doc.apiVersion}`);
  try {
    new Model(doc).validate();
  } catch (error) {
    complain(doc, error.message);
  }
}

function podOf(doc) {
  if (doc.kind === "Pod") return doc.spec;
  return doc.spec?.template?.spec;
}

// https://kubernetes.io/docs/concepts/security/pod-security-standards/, "Restricted"
function checkRestricted(doc, pod) {
  const context = pod.securityContext ?? {};
  if (pod.hostNetwork || pod.hostPID || pod.hostIPC) complain(doc, "uses the host's namespaces");
  if (context.runAsNonRoot !== true) complain(doc, "may run as root");
  if (context.seccompProfile?.type !== "RuntimeDefault") complain(doc, "has no seccomp profile");
  if (pod.automountServiceAccountToken !== false) complain(doc, "mounts a service account's token");
  for (const volume of pod.volumes ?? []) {
    const kind = Object.keys(volume).find((key) => key !== "name");
    if (!ALLOWED_VOLUMES.includes(kind))
      complain(doc, `volume ${volume.name}: ${kind} is not allowed`);
    if (kind === "emptyDir" && !volume.emptyDir.sizeLimit)
      complain(doc, `volume ${volume.name} has no size`);
  }
  for (const container of [...(pod.initContainers ?? []), ...pod.containers]) {
    const own = container.securityContext ?? {};
    const say = (text) => complain(doc, `container ${container.name} ${text}`);
    if (own.privileged) say("is privileged");
    if (own.allowPrivilegeEscalation !== false) say("may escalate");
    if (own.readOnlyRootFilesystem !== true) say("writes to its root file system");
    if (!own.capabilities?.drop?.includes("ALL") || own.capabilities.add) say("keeps capabilities");
    if (own.runAsUser === 0 || context.runAsUser === 0) say("runs as root");
    const requests = container.resources?.requests;
    if (!requests?.memory || !requests?.cpu) say("requests nothing");
    if (!container.resources?.limits?.memory) say("has no limit of memory");
    if (/:latest$|^[^:@]+$/.test(container.image)) say(`has the floating image ${container.image}`);
    if ((container.ports ?? []).some((port) => port.hostPort)) say("takes a port of the host");
    const live = container.livenessProbe;
    if (live?.httpGet?.path === "/readyz") say("is killed when Redis or S3 is away");
  }
}

function checkSecrets(doc, pod) {
  for (const container of [...(pod.initContainers ?? []), ...pod.containers])
    for (const variable of container.env ?? [])
      if (/SECRET|PASSW/.test(variable.name) && variable.value)
        complain(doc, `${variable.name} stands in the pod`);
}

const docs = yaml.loadAll(readFileSync(0, "utf8")).filter(Boolean);
if (docs.length === 0) problems.push(`${name}: no documents`);
const seen = new Set();
for (const doc of docs) {
  const id = `${doc.apiVersion}/${doc.kind}/${doc.metadata?.name}`;
  if (seen.has(id)) complain(doc, "is there twice");
  seen.add(id);
  checkSchema(doc);
  const pod = podOf(doc);
  if (pod) {
    checkRestricted(doc, pod);
    checkSecrets(doc, pod);
  }
}
// What refers to something by name.
const services = docs.filter((doc) => doc.kind === "Service");
for (const doc of docs.filter((d) => d.kind === "Ingress"))
  for (const rule of doc.spec.rules)
    for (const path of rule.http.paths)
      if (!services.some((service) => service.metadata.name === path.backend.service.name))
        complain(doc, `leads to Service ${path.backend.service.name}, which is not there`);
for (const service of services.filter((s) => s.spec.selector)) {
  const wanted = Object.entries(service.spec.selector);
  const found = docs.some((doc) => {
    const labels = doc.spec?.template?.metadata?.labels ?? {};
    return wanted.every(([key, value]) => labels[key] === value);
  });
  if (!found) complain(service, "selects no pod");
}
for (const problem of problems) console.log(problem);
if (problems.length === 0) console.log(`${name}: ${docs.length} documents`);
process.exit(problems.length ? 1 : 0);
