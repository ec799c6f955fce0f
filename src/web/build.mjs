/* node build.mjs FOLDER: builds the page into FOLDER, emptied first: index.html and what it links
 * to, all beside each other and with a hash of the content in the name, each once more as NAME.gz.
 * Fails if the first view is larger than it may be. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

import { build } from "esbuild";

const FIRST_VIEW_BYTES = 150_000; // compressed
const here = dirname(fileURLToPath(import.meta.url));
const folder = process.argv[2];
if (folder === undefined) throw new Error("say into which folder the page is to be built");

const read = (name) => readFileSync(join(here, name), "utf8");
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder, { recursive: true });

/* Puts a file into the folder; returns its name there, with its hash. */
function put(name, content) {
  const hash = createHash("sha256").update(content).digest("hex").slice(0, 8);
  const hashed = name.replace(/(\.\w+)$/, `-${hash}$1`);
  writeFileSync(join(folder, hashed), content);
  return hashed;
}

const { metafile } = await build({
  absWorkingDir: here,
  entryPoints: ["main.tsx"],
  outdir: folder,
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  bundle: true,
  splitting: true,
  format: "esm",
  target: "es2020",
  minify: true,
  legalComments: "none", // they are in the file of licences
  metafile: true,
  logLevel: "warning",
});

/* The licences of all that is bundled. */
const packages = new Set(
  Object.keys(metafile.inputs).flatMap(
    (input) => input.match(/^node_modules\/(@[^/]+\/)?[^/]+/)?.[0] ?? [],
  ),
);
const licences = [...packages].sort().map((path) => {
  const { name, version } = JSON.parse(read(`${path}/package.json`));
  const file = readdirSync(join(here, path)).find((entry) => /^licen[cs]e/i.test(entry));
  if (file === undefined) throw new Error(`${path} has no file with its licence`);
  return `${name} ${version}\n\n${read(`${path}/${file}`).trim()}\n`;
});

/* The page: its entry, what that imports at once, the style sheet, the icon. */
const outputs = Object.entries(metafile.outputs);
const [entry, { imports, cssBundle }] = outputs.find(
  ([, output]) => output.entryPoint === "main.tsx",
);
const at = (path) => `/assets/${basename(path)}`;
const icon = put("icon.svg", read("icon.svg"));
const early = imports.filter(({ kind }) => kind === "import-statement").map(({ path }) => path);
const links = [
  `<link rel="icon" href="${at(icon)}" />`,
  `<link rel="license" href="${at(put("licences.txt", licences.join("\n----\n\n")))}" />`,
  `<link rel="stylesheet" href="${at(cssBundle)}" />`,
  ...early.map((path) => `<link rel="modulepreload" href="${at(path)}" />`),
  `<script type="module" src="${at(entry)}"></script>`,
];
const mark = /<!-- build\.mjs: .* -->/;
const template = read("index.html");
if (!mark.test(template)) throw new Error("index.html has no place for the links");
writeFileSync(join(folder, "index.html"), template.replace(mark, links.join("\n    ")));

const sizes = {};
for (const name of readdirSync(folder)) {
  const packed = gzipSync(readFileSync(join(folder, name)), { level: 9 });
  writeFileSync(join(folder, `${name}.gz`), packed);
  sizes[name] = packed.length;
}
const first = ["index.html", icon, ...[entry, cssBundle, ...early].map((path) => basename(path))];
const total = first.reduce((sum, name) => sum + sizes[name], 0);
console.log(
  `first view: ${total} bytes compressed (${first.map((name) => `${name} ${sizes[name]}`)})`,
);
if (total > FIRST_VIEW_BYTES) throw new Error(`the first view may have ${FIRST_VIEW_BYTES} bytes`);
