// One song from the first key to the last, by keyboard alone.
import {
  Site, assert, byId, card, evenLevel, file, heard, jobId, level, open, playing, position, waitFor,
  wav, webTest,
} from "./harness.mjs";

const site = await Site.usual();

/** Presses Tab until the element has the focus, which then is to be seen. */
async function tabTo(page, locator, most = 60) {
  for (let n = 0; n < most; n++) {
    if (await locator.evaluate((element) => element === document.activeElement)) {
      const visible = await locator.evaluate((element) => {
        const shown = [element, element.closest("label"), ...element.querySelectorAll("*")];
        return shown.some((part) => {
          if (!part) return false;
          const style = getComputedStyle(part);
          return style.outlineStyle !== "none" || style.boxShadow !== "none";
        }) || element.matches(":focus-within");
      });
      assert.ok(visible, "the focus is not to be seen");
      return;
    }
    await page.keyboard.press("Tab");
  }
  throw new Error(`Tab never reaches ${locator}`);
}

webTest("a song by keyboard alone", {}, async ({ page }) => {
  await open(page, site);
  await page.locator("body").press("Tab");
  const chooser = page.waitForEvent("filechooser");
  const input = byId(page, "file-input");
  const shown = (e) => e.tabIndex >= 0 && getComputedStyle(e).display !== "none";
  const target = (await input.evaluate(shown))
    ? input : page.getByRole("button", { name: "Choose songs" });
  await tabTo(page, target);
  await page.keyboard.press("Enter");
  await (await chooser).setFiles([file("keys.wav", wav({ seconds: 90, tone: 3, rate: 44100 }))]);
  const done = card(page, { state: "succeeded", name: "keys" });
  await done.waitFor();
  const id = await jobId(done);
  await tabTo(page, byId(done, "job-open"));
  await page.keyboard.press("Enter");
  await byId(page, "mixer").waitFor();
  await page.waitForFunction(() => window.msaasPlayer);

  await tabTo(page, byId(page, "play"));
  await page.keyboard.press("Enter");
  await waitFor("sound", () => playing(page));
  await tabTo(page, byId(page, "seek"));
  const from = await position(page);
  await page.keyboard.press("ArrowRight");
  await waitFor("five seconds on", async () => (await position(page)) > from + 4.5);
  await tabTo(page, byId(page, "loop-in"));
  await page.keyboard.press("Enter");
  await tabTo(page, byId(page, "loop-clear"));
  await page.keyboard.press("Enter");
  await byId(page, "loop-clear").waitFor({ state: "detached" });
  const focused = await page.evaluate(() => document.activeElement.dataset.testid);
  assert.equal(focused, "loop", "the focus is lost with the button that had it");
  await tabTo(page, byId(page, "mute-drums"));
  await page.keyboard.press("Space");
  await heard(page, "drums", false);
  await tabTo(page, byId(page, "volume-bass"));
  const loud = await evenLevel(page, "bass");
  for (let n = 0; n < 30; n++) await page.keyboard.press("ArrowLeft");
  await waitFor("a lower level", async () => (await level(page, "bass")) < loud * 0.8);
  await tabTo(page, byId(page, "download-mix"));
  const [got] = await Promise.all([page.waitForEvent("download"), page.keyboard.press("Enter")]);
  assert.match(got.suggestedFilename(), /keys/);

  await open(page, site);
  await tabTo(page, byId(card(page, { id }), "job-delete"));
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog");
  await dialog.waitFor();
  await tabTo(page, dialog.getByRole("button", { name: "Erase" }), 5);
  await page.keyboard.press("Enter");
  await card(page, { id }).waitFor({ state: "detached" });
  assert.equal(await site.job(id), null);
});
