// Bundles the unit tests into a folder of its own and runs them with node's own test runner.
// Usage: run.mjs FOLDER

import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const folder = process.argv[2] ?? join(here, "../node_modules/.unit");
const tests = readdirSync(here).filter((name) => name.endsWith(".test.ts"));
await build({
  entryPoints: tests.map((name) => join(here, name)),
  outdir: folder,
  outExtension: { ".js": ".mjs" },
  bundle: true,
  platform: "node",
  format: "esm",
  logLevel: "warning",
});
const made = tests.map((name) => join(folder, name.replace(/\.ts$/, ".mjs")));
const env = { ...process.env, MSAAS_WEB: join(here, "..") };
const { status } = spawnSync(process.execPath, ["--test", ...made], { stdio: "inherit", env });
process.exit(status ?? 1);
