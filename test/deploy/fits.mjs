// node fits.mjs MILLICPUS < MANIFESTS: whether all pods, one of each Deployment's replicas, fit a
// node that has so much processor left. Prints what they ask for; exit code 1 if it is more.
// Modules come from MSAAS_NODE_MODULES (scripts/test-deploy).
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const require = createRequire(process.env.MSAAS_NODE_MODULES + "/");
const yaml = require("js-yaml");

function millis(cpu) {
  return String(cpu).endsWith("m") ? parseInt(cpu, 10) : 1000 * Number(cpu);
}

function requestOf(pod) {
  const own = (containers) => containers.map((c) => millis(c.resources.requests.cpu));
  // init containers run before the others
  return Math.max(own(pod.containers).reduce((a, b) => a + b, 0),
    ...own(pod.initContainers ?? []));
}

let total = 0;
for (const doc of yaml.loadAll(readFileSync(0, "utf8")).filter(Boolean)) {
  const pod = doc.spec?.template?.spec;
  if (!pod) continue;
  const asked = (doc.spec.replicas ?? 1) * requestOf(pod);
  console.log(`${doc.kind}/${doc.metadata.name}: ${asked}m`);
  total += asked;
}
const room = Number(process.argv[2]);
console.log(`together ${total}m of ${room}m`);
process.exit(total > 0 && total <= room ? 0 : 1);
