// A real song, the real model, all through `msaas up`: dropped, heard while the worker is at it,
// done, and heard again.
import { existsSync } from "node:fs";
import { dirname } from "node:path";

import {
  MSAAS, STEMS, Site, assert, byId, card, drop, execFileSync, heard, jobId, join, open, openMixer,
  playing, position, readFileSync, scratch, waitFor, webTest,
} from "./harness.mjs";

const SONG = "/usr/share/games/csmash/danslatristesse2-48.ogg";
const model = execFileSync(MSAAS, ["model", "list", "--json"]).toString().trim().split("\n")
  .map((line) => JSON.parse(line)).find(({ name }) => name === "htdemucs");
const missing = !model?.path ? "no htdemucs: scripts/fetch-model"
  : !existsSync(SONG) ? "no song: the package csmash-demosong" : null;

if (missing) {
  console.log(`skipped: ${missing}`);
  process.exitCode = 77;
} else {
  const site = await Site.create({
    MSAAS_MODEL: "htdemucs", MSAAS_MODELS_DIR: dirname(model.path),
  });
  await site.up("--workers", "1");
  webTest("a real song is heard before it is done, and after", {}, async ({ page }) => {
    const path = join(scratch, "song.ogg");
    execFileSync("ffmpeg", ["-v", "error", "-nostdin", "-ss", "30", "-t", "40", "-i", SONG,
                            "-c:a", "copy", path]);
    await open(page, site);
    await drop(page, { name: "song.ogg", mimeType: "audio/ogg", buffer: readFileSync(path) });
    const running = card(page, { state: "running", name: "song" });
    const id = await jobId(running);
    await byId(running, "job-open").waitFor();
    await openMixer(page, id);
    await byId(page, "play").click();
    await waitFor("sound", () => playing(page));
    assert.equal((await site.job(id)).state, "running");
    for (const stem of STEMS) await heard(page, stem, true);
    await site.state(id, "succeeded");
    await byId(page, "download-mix").waitFor();
    if (!(await playing(page))) await byId(page, "play").click();
    await byId(page, "seek").fill("30");
    await waitFor("the song to advance", async () => (await position(page)) > 31);
    for (const stem of STEMS) await heard(page, stem, true);
  });
}
