// What the tests of the page share: processes of msaas, songs, a browser for each file of tests,
// and waiting for conditions. CTest sets E2E_MSAAS, E2E_MAKE_MODEL and WEB_MODULES (see run.py).
//
// A test gets a page of a fresh browser profile. It fails, whatever else it does, when the page
// breaks its content security policy, throws, writes an error on the console, or asks another
// server for anything.
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import {
  appendFileSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import net from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, test } from "node:test";

const require = createRequire(join(process.env.WEB_MODULES, "/"));
const { chromium } = require("playwright-core");
const axePath = require.resolve("axe-core/axe.min.js");

export const MSAAS = process.env.E2E_MSAAS;
// Of every wait: far beyond what a loaded machine takes.
export const DEADLINE_MS = 1000 * Number(process.env.WEB_DEADLINE_S ?? 120);
export const STEMS = ["vocals", "drums", "bass", "other"];

export const scratch = mkdtempSync(join(process.env.TMPDIR ?? tmpdir(), "msaas-web-"));
const endings = [];
let browser;

after(async () => {
  await browser?.close();
  for (const end of endings.reverse()) await end();
  // A worker of `msaas up` may outlive it for a moment, and write.
  rmSync(scratch, { recursive: true, force: true, maxRetries: 20 });
});

export const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until condition() is true and returns its value; what it throws counts as "not yet". */
export async function waitFor(what, condition, everyMs = 50) {
  const end = Date.now() + DEADLINE_MS;
  let last;
  for (;;) {
    try {
      last = await condition();
      if (last) return last;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited in vain for ${what}; last: ${last}`);
    await pause(everyMs);
  }
}

export async function freePort() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// ---- processes

/** Starts a program that dies with this one. `log` is the file of its output. */
export function start(command, args, { env, log }) {
  const output = openSync(log, "a");
  const child = spawn("setpriv", ["--pdeathsig", "KILL", command, ...args],
                      { stdio: ["ignore", output, output], env, cwd: scratch });
  child.ended = new Promise((resolve) => child.once("exit", resolve));
  endings.push(() => kill(child));
  return child;
}

export async function kill(child) {
  child.kill("SIGKILL");
  await child.ended;
}

let modelsFolder;

/** A folder with stand-in models of random weights: "tiny", and "six" of six stems. They separate
 * nothing, but are quick. */
export function models() {
  if (!modelsFolder) {
    modelsFolder = join(scratch, "models");
    const six = ["--stems", "drums,bass,other,vocals,guitar,piano", "--seed", "6"];
    for (const [name, more] of [["tiny", []], ["six", six]])
      execFileSync(process.env.E2E_MAKE_MODEL,
                   ["--tiny", "--name", name, ...more, modelsFolder]);
  }
  return modelsFolder;
}

let sites = 0;

/** One installation: `serve` and `work` on one queue and store. */
export class Site {
  /** env: other backends than SQLite and a folder, other models, ... */
  static async create(env = {}) {
    const site = new Site();
    site.folder = join(scratch, `site${++sites}`);
    execFileSync("mkdir", ["-p", site.folder]);
    site.port = await freePort();
    site.url = `http://127.0.0.1:${site.port}`;
    const ours = /^(MSAAS|REDIS|MINIO|AWS)_|_proxy$/i;
    site.env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours.test(name)));
    Object.assign(site.env, {
      LC_ALL: "C", TMPDIR: site.folder, MSAAS_MODEL: "tiny",
      MSAAS_QUEUE: `sqlite:${site.folder}/queue.db`, MSAAS_STORE: `file:${site.folder}/objects`,
    }, env);
    site.env.MSAAS_MODELS_DIR ??= models();
    return site;
  }

  /** The usual one: a server, and a worker. */
  static async usual(env, ...options) {
    const site = await Site.create(env);
    await site.serve(...options);
    site.work();
    return site;
  }

  run(command, ...options) {
    return start(MSAAS, [command, "--host", "127.0.0.1", ...options],
                 { env: this.env, log: this.log });
  }

  get log() {
    return join(this.folder, "log");
  }

  async ready(child) {
    await waitFor("the server", async () => {
      if (child.exitCode !== null || child.signalCode !== null) return "it ended";
      return (await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(5000) })).ok;
    });
    assert.equal(child.exitCode ?? child.signalCode, null, this.tail());
    return child;
  }

  async serve(...options) {
    this.server = await this.ready(this.run("serve", "--port", this.port, ...options));
    return this.server;
  }

  async up(...options) {
    const data = ["--data", join(this.folder, "data")];
    this.server = await this.ready(this.run("up", "--port", this.port, ...data, ...options));
    return this.server;
  }

  work(...options) {
    this.worker = this.run("work", "--port", 0, "--grace", 0.2, ...options);
    return this.worker;
  }

  /** Starts the worker for a job that waits, and stops it when it has begun: the job runs until
   * SIGCONT, however slow the browser is. The lease of such a site has to be long. */
  async begin(id) {
    this.work();
    await this.state(id, "running");
    this.worker.kill("SIGSTOP");
  }

  tail() {
    return readFileSync(this.log, "utf8").slice(-3000);
  }

  /** An answer as JSON; null where there is none, or an error of status 404. */
  async api(path, init) {
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const answer = await fetch(this.url + path, { ...init, signal });
    if (answer.status === 404) return null;
    assert.ok(answer.ok, `${path}: ${answer.status} ${answer.ok ? "" : await answer.text()}`);
    return answer.headers.get("content-type")?.includes("json") ? answer.json() : null;
  }

  async bytes(path) {
    const answer = await fetch(this.url + path, { signal: AbortSignal.timeout(DEADLINE_MS) });
    assert.equal(answer.status, 200, path);
    return Buffer.from(await answer.arrayBuffer());
  }

  submit(song, query = "", headers = {}) {
    return this.api(`/apiv2/jobs?${query}`, {
      method: "POST", body: song, headers: { "Content-Type": "audio/wav", ...headers },
    });
  }

  job(id) {
    return this.api(`/apiv2/jobs/${id}`);
  }

  state(id, state) {
    return waitFor(`${id.slice(0, 8)} to be ${state}`, async () => {
      const job = await this.job(id);
      return job?.state === state && job;
    });
  }
}

const SONG = "/usr/share/games/csmash/danslatristesse2-48.ogg";

/** `msaas up` with the real model; null, and the process says "skipped", where that or the song is
 * missing. */
export async function realSite(env = {}) {
  const model = execFileSync(MSAAS, ["model", "list", "--json"]).toString().trim().split("\n")
    .map((line) => JSON.parse(line)).find(({ name }) => name === "htdemucs");
  const missing = !model?.path ? "no htdemucs: scripts/fetch-model"
    : !existsSync(SONG) ? "no song: the package csmash-demosong" : null;
  if (missing) {
    console.log(`skipped: ${missing}`);
    process.exitCode = 77;
    return null;
  }
  const models = { MSAAS_MODEL: "htdemucs", MSAAS_MODELS_DIR: dirname(model.path), ...env };
  const site = await Site.create(models);
  await site.up("--workers", "1");
  return site;
}

/** Some seconds of a real song, as a file. */
export function realSong(seconds, name = "song.ogg") {
  const path = join(scratch, "real.ogg");
  execFileSync("ffmpeg", ["-v", "error", "-nostdin", "-y", "-ss", "30", "-t", seconds, "-i", SONG,
                          "-c:a", "copy", path]);
  return { name, mimeType: "audio/ogg", buffer: readFileSync(path) };
}

/** A way to a site that can be cut: after `limit` bytes to the server, it calls `onLimit`, once.
 * Connections on which what `barred` matches is asked for are broken. */
export async function proxy(site, { limit = Infinity, onLimit } = {}) {
  let passed = 0;
  const sockets = new Set();
  const way = { barred: null, cut: () => sockets.forEach((socket) => socket.destroy()) };
  const server = net.createServer((client) => {
    const upstream = net.connect(site.port, "127.0.0.1");
    for (const [from, to] of [[client, upstream], [upstream, client]]) {
      sockets.add(from);
      from.on("error", () => {});
      from.on("close", () => {
        sockets.delete(from);
        to.destroy();
      });
    }
    upstream.pipe(client);
    client.on("data", (bytes) => {
      if (way.barred?.test(bytes.latin1Slice(0, 200))) {
        client.destroy();
        return;
      }
      passed += bytes.length;
      if (!upstream.write(bytes)) {
        client.pause();
        upstream.once("drain", () => client.resume());
      }
      if (passed >= limit) {
        limit = Infinity;
        onLimit();
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  endings.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  way.url = `http://127.0.0.1:${server.address().port}`;
  return way;
}

// ---- songs

/** A song of one tone, mono, 16 bits. Another tone or tag makes another file. */
export function wav({ seconds = 0.5, tone = 1, tag = "", rate = 8000 } = {}) {
  const frames = Math.round(seconds * rate);
  const text = Buffer.from(tag.padEnd(tag.length + tag.length % 2));
  const head = Buffer.alloc(44 + (tag ? 8 + text.length : 0));
  const data = head.length - 8;
  head.write("RIFF", 0);
  head.writeUInt32LE(data + 2 * frames, 4);
  head.write("WAVEfmt ", 8);
  head.writeUInt32LE(16, 16);
  head.writeUInt16LE(1, 20);
  head.writeUInt16LE(1, 22);
  head.writeUInt32LE(rate, 24);
  head.writeUInt32LE(2 * rate, 28);
  head.writeUInt16LE(2, 32);
  head.writeUInt16LE(16, 34);
  if (tag) {
    head.write("junk", 36);
    head.writeUInt32LE(text.length, 40);
    text.copy(head, 44);
  }
  head.write("data", data);
  head.writeUInt32LE(2 * frames, data + 4);
  const samples = new Int16Array(frames);
  for (let n = 0; n < frames; n++)
    samples[n] = 9000 * Math.sin((2 * Math.PI * 60 * tone * n) / rate);
  return Buffer.concat([head, Buffer.from(samples.buffer)]);
}

/** White noise, 44.1 kHz; another seed makes another one. */
export function noise(seconds, seed) {
  const song = wav({ seconds, rate: 44100 });
  for (let at = 44, state = Math.round(seed); at < song.length; at += 2) {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    song.writeInt16LE(state >> 18, at);
  }
  return song;
}

export function file(name, buffer) {
  return { name, mimeType: "audio/wav", buffer };
}

// ---- the browser

export async function launch() {
  browser ??= await chromium.launch({
    executablePath: process.env.WEB_CHROMIUM ?? "/usr/bin/chromium",
    headless: true,
    args: [
      "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
      "--disable-background-networking", "--disable-component-update", "--disable-sync",
      "--autoplay-policy=no-user-gesture-required",
    ],
    timeout: DEADLINE_MS,
  });
  return browser;
}

/** The next launch is of a fresh browser. */
export async function quit() {
  await browser?.close();
  browser = undefined;
}

/** A page that nothing looks into but `ask(FUNCTION, ARGUMENT)`, which runs a function in it. With
 * each page of Playwright's, Chromium keeps 100 MB of answers from servers for its inspector. */
export async function unwatchedPage() {
  const session = await (await launch()).newBrowserCDPSession();
  const { browserContextId } = await session.send("Target.createBrowserContext");
  const { targetId } = await session.send("Target.createTarget", {
    url: "about:blank", browserContextId, width: 1280, height: 720,
  });
  const { sessionId } = await session.send("Target.attachToTarget", { targetId, flatten: false });
  const waiting = new Map();
  session.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { id, result } = JSON.parse(message);
    waiting.get(id)?.(result);
  });
  return async (run, argument) => {
    const id = waiting.size;
    const answer = new Promise((resolve) => waiting.set(id, resolve));
    const expression = `(${run})(${JSON.stringify(argument) ?? ""})`;
    const params = { expression, returnByValue: true };
    const message = JSON.stringify({ id, method: "Runtime.evaluate", params });
    await session.send("Target.sendMessageToTarget", { sessionId, message });
    const { result, exceptionDetails } = await answer;
    assert.equal(exceptionDetails, undefined);
    return result.value;
  };
}

/** A profile of its own, and what goes wrong in its pages: `faults`, lines of text. */
export async function newContext(options = {}) {
  const context = await (await launch()).newContext(options);
  context.setDefaultTimeout(DEADLINE_MS);
  const faults = [];
  await context.addInitScript(() =>
    document.addEventListener("securitypolicyviolation", (event) =>
      console.error(`policy: ${event.violatedDirective} forbids ${event.blockedURI}`)));
  context.on("console", (message) => {
    if (message.type() === "error") faults.push(`${message.text()} (${message.location().url})`);
  });
  context.on("weberror", (error) => faults.push(`thrown: ${error.error().stack}`));
  context.on("request", (request) => {
    const { protocol, hostname } = new URL(request.url());
    if (protocol.startsWith("http") && hostname !== "127.0.0.1")
      faults.push(`asks for ${request.url()}`);
  });
  return { context, faults };
}

/** webTest(NAME, {allow, timeout, ...options of the context}, async ({page, context, t}) => ...).
 * `allow`: faults that are meant to be there. */
export function webTest(name, { allow = [], timeout = 2 * DEADLINE_MS, ...options }, body) {
  test(name, { timeout }, async (t) => {
    const { context, faults } = await newContext(options);
    const page = await context.newPage();
    try {
      await body({ page, context, t });
      assert.deepEqual(faults.filter((fault) => !allow.some((good) => good.test(fault))), []);
    } catch (error) {
      await tell(name, context, faults);
      throw error;
    } finally {
      await context.close();
    }
  });
}

/** What the pages showed when a test failed. */
async function tell(name, context, faults) {
  for (const page of context.pages()) {
    const text = await page.locator("body").innerText({ timeout: 5000 }).catch(String);
    process.stderr.write(`--- ${name}: ${page.url()}\n${text.slice(0, 3000)}\n---\n`);
    if (process.env.WEB_SHOTS)
      await page.screenshot({ path: join(process.env.WEB_SHOTS, `${name.replace(/\W+/g, "-")}.png`),
                              fullPage: true }).catch(() => {});
  }
  process.stderr.write(`faults: ${JSON.stringify(faults, null, 2)}\n`);
}

/** For page.route: the server's answer where it does not do what is asked. */
export const refuse = (status, code) => (route) => route.fulfill({
  status, contentType: "application/problem+json",
  body: JSON.stringify({ status, code, detail: "" }),
});

// ---- the page

export const byId = (page, testid) => page.locator(`[data-testid="${testid}"]`);

/** Cards of songs that the server has; `name` is that of the file. */
export function card(page, { id, state, name } = {}) {
  const where = (id ? `[data-job-id="${id}"]` : "") + (state ? `[data-state="${state}"]` : "");
  const cards = page.locator(`[data-testid="job-card"]${where}`);
  return name ? cards.filter({ hasText: name.replace(/\.\w+$/, "") }) : cards;
}

export async function open(page, site, path = "/") {
  await page.goto((site.url ?? site) + path);
  await page.locator('[data-testid="drop-zone"], [data-testid="login-form"]').waitFor();
}

/** Chooses files as the file dialog does. */
export function choose(page, ...files) {
  return byId(page, "file-input").setInputFiles(files);
}

/** Drops files on the page as the desktop does. */
export async function drop(page, ...files) {
  const transfer = await page.evaluateHandle((list) => {
    const transfer = new DataTransfer();
    for (const { name, type, base64 } of list) {
      const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
      transfer.items.add(new File([bytes], name, { type }));
    }
    return transfer;
  }, files.map(({ name, mimeType, buffer }) =>
    ({ name, type: mimeType, base64: buffer.toString("base64") })));
  const zone = byId(page, "drop-zone");
  for (const event of ["dragenter", "dragover", "drop"])
    await zone.dispatchEvent(event, { dataTransfer: transfer });
}

/** The id of the job on the card, once it has one. */
export function jobId(cards) {
  return waitFor("the job's id", () => cards.first().getAttribute("data-job-id"));
}

/** Sends a song and waits until its job has ended well; returns its id. */
export async function separate(page, song, name = "song.wav") {
  await choose(page, file(name, song));
  const done = card(page, { state: "succeeded", name });
  await done.waitFor();
  return jobId(done);
}

export async function openMixer(page, id) {
  const mixer = byId(page, "mixer");
  if (!(await mixer.isVisible())) await byId(card(page, { id }), "job-open").click();
  await mixer.waitFor();
  await page.waitForFunction(() => window.msaasPlayer);
}

export const position = (page) => page.evaluate(() => window.msaasPlayer.position());
export const playing = (page) => page.evaluate(() => window.msaasPlayer.playing());
export const level = (page, stem) => page.evaluate((s) => window.msaasPlayer.level(s), stem);

/** Waits until the stem is heard, or not. */
export function heard(page, stem, yes) {
  return waitFor(`${stem} to be ${yes ? "heard" : "silent"}`,
                 async () => yes === (await level(page, stem)) > 1e-6);
}

/** The level of a stem that sounds, when it is even: nothing is missing in what the meter shows. */
export function evenLevel(page, stem) {
  let before = 0;
  return waitFor(`${stem} at an even level`, async () => {
    const now = await level(page, stem);
    const even = now > 1e-6 && Math.abs(now - before) < 0.2 * now;
    before = now;
    return even && now;
  });
}

/** Loops the whole song, before it is played: so that it does not end however slow the test is. */
export async function endless(page) {
  await byId(page, "loop-in").click();
  await byId(page, "loop-times").waitFor();
}

/** Every stem is answered with the same noise, another one for each window: so the stems are as
 * loud as each other in every 2048 samples only if they are in step to the sample. */
export async function sameNoise(page) {
  await page.route(/\/stems\/\w+\.flac\?/, (route) => {
    const from = Number(new URL(route.request().url()).searchParams.get("from"));
    return route.fulfill({ contentType: "audio/wav", body: noise(5, 1 + from) });
  });
  await page.route(/\/peaks$/, async (route) => {
    const answer = await route.fetch();
    const peaks = await answer.json();
    for (const stem of peaks.stems) stem.gain = 1;
    return route.fulfill({ response: answer, json: peaks });
  });
}

/** Waits until all stems, which play the same noise, are as loud as each other; all are asked
 * within a moment, in which the sound seldom goes on. */
export function inStep(page, stems) {
  return waitFor("the stems to be in step", () => page.evaluate((names) => {
    const levels = names.map((name) => window.msaasPlayer.level(name));
    return levels[0] > 0.01 && levels.every((level) => Math.abs(level - levels[0]) < 1e-7);
  }, stems));
}

/** What axe finds at level serious or above, as lines of text. */
export async function axeFaults(page) {
  await page.evaluate(readFileSync(axePath, "utf8"));
  const { violations } = await page.evaluate(() => window.axe.run(document));
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, impact, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${id} (${impact}): ${target} ${failureSummary}`));
}

/** Saves what a click downloads; returns its path and the name that was proposed. */
export async function download(page, locator) {
  const [got] = await Promise.all([page.waitForEvent("download"), locator.click()]);
  const path = join(scratch, `download-${Date.now()}-${got.suggestedFilename()}`);
  await got.saveAs(path);
  return { path, name: got.suggestedFilename() };
}

export function probeSeconds(path) {
  const shown = execFileSync("ffprobe", ["-v", "error", "-show_entries", "format=duration", "-of",
                                         "csv=p=0", path]);
  return Number(shown.toString());
}

/** The samples of a file, as FFmpeg decodes them. */
export function samples(path) {
  const raw = execFileSync("ffmpeg", ["-v", "error", "-nostdin", "-i", path, "-f", "f32le", "-ac",
                                      "2", "-ar", "44100", "-"], { maxBuffer: 1 << 30 });
  return new Float32Array(raw.buffer, raw.byteOffset, raw.length / 4);
}

export function save(name, bytes) {
  const path = join(scratch, name);
  writeFileSync(path, bytes);
  return path;
}

export { appendFileSync, assert, execFileSync, join, readFileSync, rmSync, test };
