// Everybody can use it: axe finds no serious fault in any state, wide or narrow, light or dark; and
// nothing sticks out of the window.
import {
  Site, assert, axeFaults, byId, card, choose, file, open, openMixer, separate, wav, webTest,
} from "./harness.mjs";

const site = await Site.usual({ MSAAS_MAX_SONG_MINUTES: 1 });
const idle = await Site.create();
await idle.serve();

const VIEWS = {
  desktop: { viewport: { width: 1280, height: 800 } },
  phone: { viewport: { width: 375, height: 740 }, hasTouch: true, isMobile: true },
};

async function fine(page, state) {
  assert.deepEqual(await axeFaults(page), [], state);
  const [wide, window] = await page.evaluate(() =>
    [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(wide <= window, `${state}: ${wide} px in a window of ${window} px`);
}

for (const [view, options] of Object.entries(VIEWS)) {
  for (const colorScheme of ["light", "dark"]) {
    webTest(`no serious fault: ${view}, ${colorScheme}`,
            { ...options, colorScheme, reducedMotion: "reduce", allow: [/ 422 /] },
            async ({ page }) => {
      await open(page, site);
      await fine(page, "empty");
      await choose(page, file("long.wav", wav({ seconds: 61, tag: view + colorScheme })));
      await card(page, { state: "failed" }).waitFor();
      await choose(page, file("letter.txt", Buffer.from("Dear Sir, ".repeat(50))));
      await page.getByText("no music in this file").waitFor();
      const id = await separate(page, wav({ seconds: 8, tone: 21 }),
                                "A name so long that it does not fit on any card at all.wav");
      await fine(page, "succeeded, failed, refused");
      await byId(card(page, { id }), "job-delete").click();
      await page.getByRole("dialog").waitFor();
      await fine(page, "asked whether to erase");
      await page.keyboard.press("Escape");
      await openMixer(page, id);
      await byId(page, "play").click();
      await fine(page, "mixer");
      // A page of its own: Chromium may ask for the first icon under the rules of the next.
      const other = await page.context().newPage();
      await open(other, idle);
      await choose(other, file("waits.wav", wav()));
      await card(other, { state: "queued" }).waitFor();
      await fine(other, "queued");
    });
  }
}
