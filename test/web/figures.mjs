// The numbers that the page is held to, with the machine to itself: it prints a line for each, and
// fails where one is missed. Half of them want the real model and are left out without it.
//
//     ctest --test-dir build -C Full -R web_figures -V
import { readdirSync } from "node:fs";

import {
  DEADLINE_MS, STEMS, Site, appendFileSync, assert, byId, card, drop, file, inStep, jobId, level,
  sameNoise, open, openMixer, pause, playing, position, quit, readFileSync, realSite, realSong,
  save, separate, test, unwatchedPage, waitFor, wav, webTest,
} from "./harness.mjs";

const SIX = ["drums", "bass", "other", "vocals", "guitar", "piano"];
const HOUR_S = 3600;
/** So near is where one has sought: seeks go farther, and the song goes on until it is asked. */
const NEAR_S = 100;
/** The second of the hour that the n-th seek goes to. */
const place = (n) => (n * 1733 + 7) % (HOUR_S - 20);

function tell(what, figure, unit, most) {
  console.log(`figure: ${what}: ${figure} ${unit} (at most ${most})`);
  assert.ok(figure <= most, `${what}: ${figure} ${unit}`);
}

/** Notes when the page hears the first events of its jobs, paints, shifts and blocks. */
async function watched(page) {
  await page.addInitScript(() => {
    window.seen = { events: [], paint: 0, shift: 0, moved: [], tasks: [], inputs: [] };
    const Native = window.EventSource;
    window.EventSource = class extends Native {
      constructor(url) {
        super(url);
        for (const type of ["state", "progress"])
          this.addEventListener(type, ({ data }) =>
            window.seen.events.push({ type, at: performance.now(), ...JSON.parse(data) }));
      }
    };
    const on = (type, take, more = {}) => new PerformanceObserver((list) =>
      list.getEntries().forEach(take)).observe({ type, buffered: true, ...more });
    on("paint", ({ name, startTime }) => {
      if (name === "first-contentful-paint") window.seen.paint = startTime;
    });
    on("layout-shift", ({ value, hadRecentInput, sources }) => {
      if (hadRecentInput) return;
      window.seen.shift += value;
      for (const { node, previousRect: from, currentRect: to } of sources)
        window.seen.moved.push(`${node?.className ?? node?.nodeName} ` +
                               `${from.x},${from.y} to ${to.x},${to.y}`);
    });
    on("longtask", ({ duration }) => window.seen.tasks.push(duration));
    on("event", ({ duration }) => window.seen.inputs.push(duration), { durationThreshold: 16 });
  });
}

const seen = (page) => page.evaluate(() => window.seen);

/** Memory of all processes of the browser, in MB: what they share counts once. */
function browserMegabytes() {
  const read = (path) => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return ""; // It has just ended.
    }
  };
  const parents = new Map(readdirSync("/proc").filter((name) => /^\d+$/.test(name))
    .map((pid) => [pid, /^PPid:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1]]));
  const ours = (pid) =>
    pid !== undefined && (pid === String(process.pid) || ours(parents.get(pid)));
  let bytes = 0;
  for (const pid of parents.keys()) {
    if (!ours(pid) || !read(`/proc/${pid}/cmdline`).split("\0")[0].includes("chromium")) continue;
    bytes += 1024 * Number(/^Pss:\s+(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0);
  }
  return Math.round(bytes / 1e6);
}

// All before the first test: the end of the last one known so far is the end of everything.
const site = await Site.usual({ MSAAS_MAX_SONG_MB: 600 });
const sixes = await Site.usual({ MSAAS_MODEL: "six" });
const real = await realSite();

for (const [view, width, height] of [["desktop", 1280, 800], ["phone", 360, 740]]) {
  webTest(`first view: ${view}`, { viewport: { width, height } }, async ({ page }) => {
    await watched(page);
    const session = await page.context().newCDPSession(page);
    await session.send("Network.enable");
    let bytes = 0;
    session.on("Network.loadingFinished", ({ encodedDataLength }) => (bytes += encodedDataLength));
    await open(page, site);
    await byId(page, "stem-check-vocals").waitFor({ state: "attached" });
    await page.waitForLoadState("networkidle");
    const first = await seen(page);
    tell(`first contentful paint, ${view}`, Math.round(first.paint), "ms", 500);
    tell(`first view over the wire, ${view}`, bytes, "bytes", 150_000);
    await separate(page, wav({ tone: width }), `${view}.wav`);
    const { shift, moved } = await seen(page);
    tell(`layout shift, ${view} ${moved}`, shift, "", 0);
    await page.reload();
    await card(page, { state: "succeeded" }).waitFor();
    await page.waitForLoadState("networkidle");
    tell(`layout shift with a history, ${view}`, (await seen(page)).shift, "", 0);
  });
}

webTest("from drop to progress", {}, async ({ page }) => {
  await watched(page);
  await open(page, site);
  await byId(page, "stem-check-vocals").waitFor({ state: "attached" });
  const at = await page.evaluate(() => performance.now());
  await drop(page, file("first.wav", wav({ seconds: 60, tag: "drop" })));
  const event = await waitFor("progress", async () =>
    (await seen(page)).events.find(({ progress }) => progress > 0), 5);
  tell("drop to first progress event", Math.round(event.at - at), "ms", 1000);
});

webTest("a page that sends 500 MB", {}, async ({ page }) => {
  await watched(page);
  await open(page, site);
  const path = save("500.wav", wav({ tag: "-".repeat(20e6) }));
  for (let n = 0; n < 48; n++) appendFileSync(path, Buffer.alloc(10e6));
  await byId(page, "file-input").setInputFiles(path);
  await byId(page, "upload-progress").waitFor();
  await page.evaluate(() => (window.seen.tasks = []));
  const worst = await page.evaluate(async () => {
    const sending = () => document.querySelector('[data-testid="upload-progress"]') !== null;
    const modes = ["karaoke", "stems"].map((mode) =>
      document.querySelector(`[data-testid="mode-${mode}"]`));
    let worst = 0;
    for (let n = 0; sending(); n++) {
      const at = performance.now();
      modes[n % 2].click();
      await new Promise(requestAnimationFrame);
      await new Promise((resolve) => setTimeout(resolve));
      worst = Math.max(worst, performance.now() - at);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return worst;
  });
  const { tasks } = await seen(page);
  tell("500 MB upload: a click to the next frame, worst", Math.round(worst), "ms", 200);
  tell("500 MB upload: longest task", Math.round(Math.max(0, ...tasks)), "ms", 200);
  await card(page, { name: "500" }).first().waitFor();
});

webTest("an hour of six stems", { timeout: 1_200_000 }, async ({ page }) => {
  const song = save("hour.wav", wav({ seconds: HOUR_S, tone: 3 }));
  await open(page, sixes);
  await byId(page, "file-input").setInputFiles(song);
  const done = card(page, { name: "hour", state: "succeeded" });
  await done.waitFor({ timeout: 900_000 });
  await openMixer(page, await jobId(done));
  await byId(page, "play").click();
  await waitFor("sound", () => playing(page));
  let slowest = 0;
  for (let n = 0; n < 30; n++) {
    const to = place(n);
    const at = Date.now();
    await byId(page, "seek").fill(String(to));
    await waitFor("sound there", async () =>
      await playing(page) && Math.abs((await position(page)) - to) < NEAR_S, 5);
    slowest = Math.max(slowest, Date.now() - at);
    await pause(500);
  }
  tell("an hour of six stems: a seek to its sound, slowest of 30", slowest, "ms", 3000);
});

test("the memory of an hour of six stems", { timeout: 2 * DEADLINE_MS }, async () => {
  const { jobs: [{ id }] } = await sixes.api("/apiv2/jobs?state=succeeded");
  await quit();
  const ask = await unwatchedPage();
  await pause(2000);
  console.log(`figure: an empty browser's memory: ${browserMegabytes()} MB`);
  await ask((url) => void location.assign(url), `${sixes.url}/#/${id}`);
  await waitFor("the mixer", () => ask(() => window.msaasPlayer !== undefined));
  await ask(() => document.querySelector('[data-testid="play"]').click());
  let most = 0;
  for (let n = 0; n < 30; n++) {
    const to = place(n);
    await ask((to) => {
      const seek = document.querySelector('[data-testid="seek"]');
      seek.value = to;
      for (const type of ["input", "change"])
        seek.dispatchEvent(new Event(type, { bubbles: true }));
    }, to);
    await waitFor("sound there", () => ask(({ to, near }) =>
      window.msaasPlayer.playing() && Math.abs(window.msaasPlayer.position() - to) < near,
      { to, near: NEAR_S }));
    await pause(500);
    most = Math.max(most, browserMegabytes());
  }
  tell("an hour of six stems: the browser's memory", most, "MB", 500);
  await quit();
});

webTest("an hour of six stems in step", {}, async ({ page }) => {
  const { jobs: [{ id }] } = await sixes.api("/apiv2/jobs?state=succeeded");
  await sameNoise(page);
  await page.goto(`${sixes.url}/#/${id}`);
  await byId(page, "mixer").waitFor();
  await openMixer(page, id);
  await byId(page, "play").click();
  for (let n = 0; n < 10; n++) {
    const to = place(n);
    await byId(page, "seek").fill(String(to));
    await waitFor("sound there", async () =>
      await playing(page) && Math.abs((await position(page)) - to) < NEAR_S);
    await inStep(page, SIX);
  }
  tell("an hour of six stems: apart after 10 seeks", 0, "frames", 0);
});

if (real !== null) {
  webTest("the real model", {}, async ({ page }) => {
    await watched(page);
    await open(page, real);
    await byId(page, "stem-check-vocals").waitFor({ state: "attached" });
    for (const turn of ["cold", "warm"]) {
      const name = `${turn}.ogg`;
      const at = await page.evaluate(() => {
        window.seen.events = [];
        return performance.now();
      });
      await drop(page, realSong(turn === "cold" ? 30 : 31, name));
      const running = card(page, { state: "running", name });
      await running.waitFor();
      const started = Date.now();
      const id = await jobId(running);
      await byId(running, "job-open").click();
      await byId(page, "mixer").waitFor();
      await byId(page, "play").click();
      await waitFor("sound", async () => {
        for (const stem of STEMS) if ((await level(page, stem)) > 1e-6) return true;
        return false;
      }, 5);
      tell(`start of a job to its first sound, ${turn}`, (Date.now() - started) / 1000, "s", 10);
      const event = (await seen(page)).events.find(({ progress }) => progress > 0);
      console.log(`figure: drop to first progress event, real model, ${turn}: ` +
                  `${Math.round(event.at - at)} ms`);
      await real.state(id, "succeeded");
      await byId(page, "mixer").waitFor();
      await page.goto(real.url);
      await byId(page, "drop-zone").waitFor();
    }
  });
}
