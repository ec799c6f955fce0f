// Pictures of the page in all its states, of a real song: look at them after each change of style.
//
//     ctest --test-dir build -C Full -R web_shots     into build/web-shots
//
// Those of the docs are among them: page.webp and page-songs.webp.
import { mkdirSync, writeFileSync } from "node:fs";

import {
  MSAAS, Site, byId, card, choose, execFileSync, file, join, newContext, open, openMixer, playing,
  position, realSite, realSong, scratch, separate, test, waitFor, wav,
} from "./harness.mjs";

const folder = process.env.WEB_SHOTS;
mkdirSync(folder, { recursive: true });
const VIEWS = {
  desktop: { viewport: { width: 1280, height: 860 } },
  phone: { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, hasTouch: true,
           isMobile: true },
};

/** Calls for each width and colour with a page that knows of the same songs. */
async function everywhere(site, storageState, body) {
  for (const [view, options] of Object.entries(VIEWS))
    for (const colorScheme of ["light", "dark"]) {
      const { context } = await newContext({ ...options, colorScheme, storageState });
      const page = await context.newPage();
      await open(page, site);
      const shoot = (name) => page.screenshot({
        path: join(folder, `${name}-${view}-${colorScheme}.png`), fullPage: true });
      await body(page, shoot, `${view}-${colorScheme}`);
      await context.close();
    }
}

/** A picture for the docs: what is to be seen in the middle, in WebP. */
async function picture(page, name, height) {
  const session = await page.context().newCDPSession(page);
  const clip = { x: 84, y: 0, width: 1112, height, scale: 1.4 };
  const { data } = await session.send("Page.captureScreenshot",
                                      { format: "webp", quality: 80, clip });
  writeFileSync(join(folder, name), Buffer.from(data, "base64"));
}

const site = await realSite({ MSAAS_MAX_SONG_MINUTES: 2 });
if (site !== null) {
  test("pictures", async () => {
    const { context } = await newContext();
    const page = await context.newPage();
    await open(page, site);
    const id = await separate(page, realSong(48).buffer, "Dans la tristesse.ogg");
    await everywhere(site, undefined, (_, shoot) => shoot("empty"));
    await choose(page, file("A long night.wav", wav({ seconds: 121, tag: "failed" })));
    await card(page, { state: "failed" }).waitFor();
    await choose(page, { ...realSong(90), name: "Live at the harbour, second encore, 1974.ogg" },
                 { ...realSong(20), name: "Demo 3.ogg" });
    const early = card(page, { state: "running" });
    await byId(early, "job-open").waitFor();
    const running = await early.getAttribute("data-job-id");
    await card(page, { state: "queued", name: "Demo 3" }).waitFor();
    const state = await context.storageState();
    await everywhere(site, state, async (shown, shoot, which) => {
      await byId(card(shown, { id: running }), "job-open").waitFor();
      await shoot("songs");
      if (which === "desktop-dark") await picture(shown, "page-songs.webp", 830);
      await openMixer(shown, running);
      await shown.locator(".wave path[d*=v2]").first().waitFor({ state: "attached" });
      await shoot("preview");
    });
    await site.state(running, "succeeded");
    await everywhere(site, state, async (shown, shoot, which) => {
      await byId(card(shown, { id }), "job-delete").click();
      await shown.getByRole("dialog").waitFor();
      await shoot("dialog");
      await shown.keyboard.press("Escape");
      await openMixer(shown, id);
      await byId(shown, "seek").fill("12");
      await byId(shown, "loop-in").click();
      await byId(shown, "seek").fill("24");
      await byId(shown, "loop-out").click();
      await byId(shown, "seek").fill("14");
      await byId(shown, "mute-drums").click();
      await byId(shown, "volume-bass").fill("-6");
      await byId(shown, "play").click();
      await waitFor("sound", async () => await playing(shown) && (await position(shown)) > 16);
      await byId(shown, "play").click();
      await shoot("mixer");
      if (which === "desktop-light") await picture(shown, "page.webp", 770);
    });
    const tokens = join(scratch, "tokens.json");
    execFileSync(MSAAS, ["token", "add", "ann", "--tokens", tokens]);
    const closed = await Site.create();
    await closed.serve("--tokens", tokens);
    await everywhere(closed, undefined, async (shown, shoot) => {
      await byId(shown, "login-form").waitFor();
      await shoot("login");
    });
  });
}
