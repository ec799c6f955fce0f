// The page of a service that wants to know who asks.
import {
  MSAAS, Site, assert, byId, card, choose, execFileSync, file, join, open, openMixer, refuse,
  scratch, separate, waitFor, wav, webTest,
} from "./harness.mjs";

const tokens = join(scratch, "tokens.json");
const token = (name, ...limits) =>
  execFileSync(MSAAS, ["token", "add", name, "--tokens", tokens, ...limits]).toString().trim();
const ann = token("ann");
const bob = token("bob", "--max-minutes-a-day", "1");
const site = await Site.usual({}, "--tokens", tokens);
const meant = { allow: [/ 401 /] }; // the page learns of accounts by such an answer

async function logIn(page, secret) {
  await page.goto(site.url);
  await byId(page, "token-input").fill(secret);
  await page.keyboard.press("Enter");
}

webTest("who has no good token stays outside", meant, async ({ page }) => {
  await logIn(page, "msaas_wrong");
  await page.getByText("unknown, revoked or expired").waitFor();
  assert.equal(await byId(page, "drop-zone").count(), 0);
});

webTest("a token lets in, a reload keeps it, and the log-out ends it", meant, async ({ page }) => {
  await logIn(page, ann);
  await byId(page, "drop-zone").waitFor();
  const id = await separate(page, wav({ tone: 31 }), "of-ann.wav");
  await page.reload();
  await card(page, { id, state: "succeeded" }).waitFor();
  const kept = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }));
  assert.ok(!kept.includes(ann), "scripts can read the token");
  const mixes = () => page.evaluate(() => localStorage.getItem("msaas.mixes"));
  await openMixer(page, id);
  await byId(page, "mute-drums").click();
  await waitFor("the mix to be kept", async () => (await mixes()).includes(id));
  await byId(page, "mute-bass").click();
  await byId(page, "logout").click();
  await byId(page, "login-form").waitFor();
  await page.reload();
  await byId(page, "login-form").waitFor();
  assert.equal(await card(page).count(), 0);
  assert.equal(await mixes(), "[]");
  await logIn(page, ann);
  await card(page, { id, state: "succeeded" }).waitFor();
});

webTest("another account does not see the song", { allow: [/ 401 /, / 404 /] },
        async ({ page }) => {
  await logIn(page, ann);
  const id = await separate(page, wav({ tone: 32 }), "private.wav");
  await byId(page, "logout").click();
  await byId(page, "login-form").waitFor(); // else the page is gone before the server hears of it
  await logIn(page, bob);
  await byId(page, "drop-zone").waitFor();
  await page.goto(`${site.url}/#/${id}`);
  await page.getByText("does not know this song").waitFor();
});

webTest("a quota that is used up is told", { allow: [/ 401 /, / 429 /] }, async ({ page }) => {
  await logIn(page, bob);
  await byId(page, "drop-zone").waitFor();
  await separate(page, wav({ seconds: 40, tone: 33 }), "most-of-it.wav");
  await choose(page, file("too-much.wav", wav({ seconds: 30, tone: 34 })));
  await page.getByText("quota is used up").waitFor();
});

webTest("what an account was sending does not become another's", meant, async ({ page }) => {
  await logIn(page, ann);
  let held;
  const asked = new Promise((resolve) => (held = resolve));
  await page.route(/uploads\/[^/]+$/, (route) =>
    (route.request().method() === "PATCH" ? held(route) : route.continue()));
  await choose(page, file("of-ann.wav", wav({ tone: 35 })));
  const upload = await asked;
  await byId(page, "logout").click();
  await byId(page, "login-form").waitFor();
  await upload.continue().catch(() => {}); // the page has given it up
  await page.unroute(/uploads\/[^/]+$/);
  await logIn(page, bob);
  const id = await separate(page, wav({ tone: 36 }), "of-bob.wav");
  const headers = { Authorization: `Bearer ${bob}` };
  const { jobs } = await site.api("/apiv2/jobs", { headers });
  assert.equal(jobs[0].id, id);
  assert.ok(jobs.every(({ input }) => input.name !== "of-ann.wav"), "bob has sent ann's song");
  assert.equal(await page.getByText("of-ann").count(), 0);
});

webTest("whose session ends is not followed by another with the same songs", meant,
        async ({ page, context }) => {
  await logIn(page, ann);
  await separate(page, wav({ tone: 37 }), "hers.wav");
  await context.clearCookies();
  await page.reload();
  await byId(page, "token-input").fill(bob);
  await page.keyboard.press("Enter");
  await byId(page, "drop-zone").waitFor();
  await page.getByText("hers").waitFor({ state: "detached" });
  await page.reload();
  await byId(page, "drop-zone").waitFor();
  assert.equal(await page.getByText("hers").count(), 0);
});

webTest("a refusal that comes after the log-in asks for no other one", meant,
        async ({ page, context }) => {
  await logIn(page, ann);
  await separate(page, wav({ tone: 40 }), "early.wav");
  await context.clearCookies();
  let held;
  const asked = new Promise((resolve) => (held = resolve));
  await page.route(/models$/, async (route) => held([route, await route.fetch()]), { times: 1 });
  await page.reload();
  const [route, response] = await asked;
  assert.equal(response.status(), 401);
  await byId(page, "token-input").fill(ann);
  await page.keyboard.press("Enter");
  await byId(page, "drop-zone").waitFor();
  await Promise.all([page.waitForEvent("requestfinished", (request) =>
    request === route.request()), route.fulfill({ response })]);
  await separate(page, wav({ tone: 41 }), "late.wav");
});

webTest("the account's songs are listed as soon as the server can", { allow: [/ 401 /, / 503 /] },
        async ({ page }) => {
  await logIn(page, ann);
  const id = await separate(page, wav({ tone: 38 }), "listed.wav");
  await page.evaluate(() => localStorage.removeItem("msaas.jobs"));
  let refused = 0;
  const away = refuse(503, "queue_unavailable");
  await page.route(/apiv2\/jobs\?/, (route) =>
    refused++ < 2 ? away(route) : route.continue());
  await page.reload();
  await card(page, { id, state: "succeeded" }).waitFor();
});

webTest("the log-in works where the browser can keep nothing more", meant, async ({ page }) => {
  await page.addInitScript(() => {
    Storage.prototype.setItem = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
  });
  await logIn(page, ann);
  await byId(page, "drop-zone").waitFor();
  await byId(page, "logout").click();
  await byId(page, "login-form").waitFor();
});

webTest("a log-out holds for all tabs", meant, async ({ page, context }) => {
  await logIn(page, ann);
  const id = await separate(page, wav({ tone: 39 }), "tabs.wav");
  const list = await context.newPage();
  const mixer = await context.newPage();
  await list.goto(site.url);
  await card(list, { id }).waitFor();
  await mixer.goto(`${site.url}/#/${id}`);
  await byId(mixer, "mixer").waitFor();
  await byId(page, "logout").click();
  for (const tab of [list, mixer]) {
    await byId(tab, "login-form").waitFor();
    assert.equal(await tab.getByText("tabs").count(), 0);
  }
  await logIn(page, ann);
  await card(list, { id, state: "succeeded" }).waitFor();
  await byId(mixer, "mixer").waitFor();
});

webTest("a log-out that fails is told", { allow: [/ 401 /, / 503 /] }, async ({ page }) => {
  await logIn(page, ann);
  await byId(page, "drop-zone").waitFor();
  await page.route(/session$/, refuse(503, "draining"), { times: 1 });
  await byId(page, "logout").click();
  await page.getByText("still logged in").waitFor();
  await byId(page, "logout").click();
  await byId(page, "login-form").waitFor();
});

webTest("a log-out ends where nobody logs in any more", { allow: [/ 401 /, /net::/] },
        async ({ page }) => {
  await logIn(page, ann);
  await byId(page, "drop-zone").waitFor();
  await page.route(/models$/, (route) => route.fulfill({ json: { models: [] } }));
  await byId(page, "logout").click();
  await byId(page, "logout").waitFor({ state: "detached" });
  await byId(page, "drop-zone").waitFor();
});
