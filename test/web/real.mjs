// A real song, the real model, all through `msaas up`: dropped, heard while the worker is at it,
// done, and heard again.
import {
  STEMS, assert, byId, card, drop, heard, jobId, open, openMixer, playing, position, realSite,
  realSong, waitFor, webTest,
} from "./harness.mjs";

const site = await realSite();
if (site !== null) {
  webTest("a real song is heard before it is done, and after", {}, async ({ page }) => {
    await open(page, site);
    await drop(page, realSong(24));
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
    await byId(page, "seek").fill("15"); // else it may end just now
    if ((await byId(page, "play").getAttribute("data-state")) === "paused")
      await byId(page, "play").click();
    await waitFor("the song to advance", async () => (await position(page)) > 16);
    for (const stem of STEMS) await heard(page, stem, true);
  });
}
