// The mixer: what is played, what is heard, what is taken away.
import {
  STEMS, Site, assert, byId, card, choose, download, endless, evenLevel, file, heard, inStep, jobId,
  level, sameNoise, open, openMixer, pause, playing, position, probeSeconds, readFileSync, samples,
  save, separate, waitFor, wav, webTest,
} from "./harness.mjs";

const site = await Site.usual({ MSAAS_LEASE: 600 }); // a worker is stopped for a while
const SECONDS = 23.4;
const song = wav({ seconds: SECONDS, tone: 4, rate: 44100 });

async function opened(page) {
  await open(page, site);
  const id = await separate(page, song, "tune.wav");
  await openMixer(page, id);
  return id;
}

async function played(page) {
  const id = await opened(page);
  await endless(page);
  await byId(page, "play").click();
  await waitFor("sound", () => playing(page));
  return id;
}

webTest("it plays, pauses, seeks, and ends at the end", {}, async ({ page }) => {
  await played(page);
  const from = await position(page);
  await waitFor("the song to advance", async () => (await position(page)) > from + 0.5);
  for (const stem of STEMS) await heard(page, stem, true);
  await byId(page, "play").click();
  await waitFor("silence", async () => !(await playing(page)));
  const paused = await position(page);
  await pause(300);
  assert.equal(await position(page), paused);
  await byId(page, "loop-clear").click();

  await byId(page, "seek").fill("12.5");
  await waitFor("the new position", async () => Math.abs((await position(page)) - 12.5) < 0.2);
  await byId(page, "play").click();
  await waitFor("the song to advance", async () => (await position(page)) > 13);
  await byId(page, "seek").fill(String(SECONDS - 1));
  await waitFor("the end", async () => !(await playing(page)) &&
    (await byId(page, "play").getAttribute("data-state")) === "paused");
  assert.ok(Math.abs((await position(page)) - SECONDS) < 0.05, String(await position(page)));

  await byId(page, "play").click();
  await waitFor("sound from the start", async () => (await position(page)) < 12);
  await byId(page, "seek").fill(String(SECONDS));
  await page.locator('[data-testid="play"][data-state="paused"]').waitFor();
});

webTest("the playhead goes on after a drag of the slider that comes back", {}, async ({ page }) => {
  await opened(page);
  await byId(page, "seek").fill("11.7");
  const { x, y, width, height } = await byId(page, "seek").boundingBox();
  await page.mouse.move(x + width / 2, y + height / 2);
  await page.mouse.down();
  await page.mouse.move(x + width / 3, y + height / 2);
  await page.mouse.move(x + width / 2, y + height / 2);
  await page.mouse.up();
  const shown = () => byId(page, "time").innerText();
  const [from, before] = [await position(page), await shown()];
  await byId(page, "play").click();
  await waitFor("the song to advance", async () => (await position(page)) > from + 1);
  await waitFor("the time to show it", async () => (await shown()) !== before);
});

webTest("all stems are in step after every seek", {}, async ({ page }) => {
  await sameNoise(page);
  await played(page);
  for (const to of [3, 17.3, 4.9, 18.5, 0.2, 9.9]) {
    await byId(page, "seek").fill(String(to));
    await waitFor("sound there", async () => await playing(page) &&
      Math.abs((await position(page)) - to) < 4); // later, it is so again in the next turn
    await inStep(page, STEMS);
  }
});

webTest("mute and solo change what is heard", {}, async ({ page }) => {
  await played(page);
  for (const stem of STEMS) await heard(page, stem, true);
  await byId(page, "mute-drums").click();
  await heard(page, "drums", false);
  await heard(page, "bass", true);
  await byId(page, "mute-drums").click();
  await heard(page, "drums", true);
  await byId(page, "solo-vocals").click();
  await heard(page, "vocals", true);
  for (const stem of ["drums", "bass", "other"]) await heard(page, stem, false);
  await byId(page, "solo-vocals").click();
  for (const stem of STEMS) await heard(page, stem, true);
  const loud = await evenLevel(page, "bass");
  await byId(page, "volume-bass").fill("-30");
  await waitFor("a lower level", async () => (await level(page, "bass")) < loud / 8);
});

webTest("a region is played again and again", {}, async ({ page }) => {
  await opened(page);
  await byId(page, "seek").fill("6");
  await byId(page, "loop-in").click();
  await byId(page, "seek").fill("7");
  await byId(page, "loop-out").click();
  if ((await byId(page, "loop").getAttribute("aria-pressed")) !== "true")
    await byId(page, "loop").click();
  await byId(page, "seek").fill("6.1");
  await byId(page, "play").click();
  await waitFor("sound", () => playing(page));
  let before = await position(page);
  let turns = 0;
  let left = 0;
  await waitFor("three turns", async () => {
    const now = await position(page);
    if (now < 5.95 || now > 7.05) left = now;
    if (now < before - 0.3) turns++;
    before = now;
    return turns >= 3;
  }, 20);
  assert.equal(left, 0, "it left the region");
});

webTest("the space bar plays after a click on what sets the loop", {}, async ({ page }) => {
  await opened(page);
  for (const button of ["loop-in", "loop-out", "loop", "loop-clear", "mute-drums"]) {
    await byId(page, "seek").fill("12");
    await page.evaluate(() => document.activeElement.blur());
    await byId(page, button).click();
    for (const state of ["playing", "paused"]) {
      await page.keyboard.press("Space");
      await page.locator(`[data-testid="play"][data-state="${state}"]`).waitFor();
    }
  }
});

webTest("a reload finds the mix as it was left", {}, async ({ page }) => {
  await opened(page);
  await byId(page, "mute-drums").click();
  await byId(page, "volume-bass").fill("-30");
  await byId(page, "pan-other").fill("0.5");
  await byId(page, "seek").fill("6");
  await byId(page, "loop-in").click();
  await byId(page, "seek").fill("9");
  await byId(page, "loop-out").click();
  await byId(page, "volume-vocals").fill("-12"); // and away, at once
  await page.reload();
  await byId(page, "mixer").waitFor();
  assert.equal(await byId(page, "mute-drums").getAttribute("aria-pressed"), "true");
  assert.equal(await byId(page, "volume-bass").inputValue(), "-30");
  assert.equal(await byId(page, "volume-vocals").inputValue(), "-12");
  assert.equal(await byId(page, "pan-other").inputValue(), "0.5");
  assert.match(await byId(page, "loop-times").innerText(), /0:06.*0:09/);
  await byId(page, "play").click();
  await heard(page, "other", true);
  await heard(page, "drums", false);
  const at = await position(page);
  assert.ok(at >= 6 && at <= 9, `outside of the region: ${at}`);
  await byId(page, "loop-clear").click();
  await page.reload();
  await byId(page, "mixer").waitFor();
  await byId(page, "loop-in").waitFor();
  assert.equal(await byId(page, "loop-times").count(), 0);
});

webTest("of two tabs one sounds at a time", {}, async ({ page, context }) => {
  await played(page);
  const other = await context.newPage();
  await other.goto(page.url());
  await byId(other, "play").click();
  await waitFor("sound in the other tab", () => playing(other));
  await waitFor("silence in the first", async () => !(await playing(page)));
  await byId(page, "play").click();
  await waitFor("silence in the other tab", async () => !(await playing(other)));
  await waitFor("sound in the first", () => playing(page));
});

webTest("the mix that is downloaded is the one that is heard", {}, async ({ page }) => {
  const id = await opened(page);
  await byId(page, "mute-drums").click();
  await byId(page, "volume-bass").fill("-6");
  await byId(page, "mix-format").selectOption("wav");
  const { path, name } = await download(page, byId(page, "download-mix"));
  assert.match(name, /tune.*\.wav$/);
  assert.ok(Math.abs(probeSeconds(path) - SECONDS) < 0.05);
  const expected = await site.bytes(
    `/apiv2/jobs/${id}/mix?gains=drums:-inf,bass:-6&format=wav`);
  assert.ok(readFileSync(path).equals(expected), "it is another mix");
  const whole = samples(save("whole.wav", await site.bytes(`/apiv2/jobs/${id}/mix?format=wav`)));
  const mix = samples(path);
  const drums = samples(save("drums.wav", await site.bytes(`/apiv2/jobs/${id}/stems/drums.wav`)));
  assert.equal(mix.length, whole.length);
  assert.ok(rms(drums) > 1e-4, "the stand-in's drums are silent");
  const muted = samples(save("muted.wav",
                             await site.bytes(`/apiv2/jobs/${id}/mix?gains=bass:-6&format=wav`)));
  assert.ok(rms(mix.map((sample, n) => muted[n] - sample)) > 0.5 * rms(drums), "the drums are in");
});

function rms(values) {
  return Math.sqrt(values.reduce((sum, value) => sum + value * value, 0) / values.length);
}

webTest("stems and the archive can be taken", {}, async ({ page }) => {
  await opened(page);
  await byId(page, "mix-format").selectOption("flac");
  const stem = await download(page, byId(page, "download-vocals"));
  assert.match(stem.name, /tune - vocals\.flac$/);
  assert.ok(Math.abs(probeSeconds(stem.path) - SECONDS) < 0.05);
  const zip = await download(page, byId(page, "download-zip"));
  assert.match(zip.name, /\.zip$/);
  assert.equal(readFileSync(zip.path).subarray(0, 2).toString(), "PK");
  await page.keyboard.press("Space"); // a link has no use for it
  await waitFor("sound", () => playing(page));
});

webTest("what the worker has finished is heard while it works on", {}, async ({ page }) => {
  await open(page, site);
  await choose(page, file("early.wav", wav({ seconds: 1500, tag: "early" })));
  const running = card(page, { state: "running", name: "early" });
  await running.waitFor();
  const id = await jobId(running);
  await waitFor("a preview", async () => (await site.job(id)).preview_seconds > 0);
  site.worker.kill("SIGSTOP"); // so that the song stays unfinished however quick the machine is
  try {
    await openMixer(page, id);
    await byId(page, "play").click();
    await waitFor("sound", () => playing(page));
    const from = await position(page);
    await waitFor("the song to advance", async () => (await position(page)) > from + 0.5);
    assert.equal((await site.job(id)).state, "running");
  } finally {
    site.worker.kill("SIGCONT");
  }
});
