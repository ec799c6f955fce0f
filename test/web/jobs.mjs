// Jobs on the page: progress, cancel, reloads, tabs, a long history.
import {
  Site, assert, byId, card, choose, file, jobId, kill, newContext, open, openMixer, proxy,
  refuse, save, separate, waitFor, wav, webTest,
} from "./harness.mjs";

const LONG_S = 1500; // of music: half a minute of work or so for the stand-in
const STOPPED = { MSAAS_LEASE: 600 }; // of a site whose worker is stopped for a while
const site = await Site.usual();

const away = refuse(503, "queue_unavailable");

async function confirm(page) {
  await page.getByRole("dialog").getByRole("button", { name: "Erase" }).click();
}

webTest("progress is seen as it happens, and a song can be canceled", {}, async ({ page }) => {
  await open(page, site);
  await choose(page, file("long.wav", wav({ seconds: LONG_S, tag: "progress" })));
  const running = card(page, { state: "running", name: "long" });
  await running.waitFor();
  const id = await jobId(running);
  const progress = byId(running, "job-progress");
  const value = () => progress.evaluate((bar) =>
    Number(bar.getAttribute("aria-valuenow") ?? (bar.position > 0 ? bar.value : 0)));
  const first = await waitFor("progress", value);
  await waitFor("more progress", async () => (await value()) > first);
  await byId(running, "job-cancel").click();
  await card(page, { id }).waitFor({ state: "detached" });
  await waitFor("the job to be gone", async () => (await site.job(id)) === null);
});

// 409: the server may still be at what the lost connection sent.
webTest("a reload in the middle of everything loses nothing", { allow: [/net::/, / 409 /] },
        async ({ page }) => {
  // The way for the reload in the upload: it is cut, so that the upload is surely not complete.
  let cut;
  const reached = new Promise((resolve) => (cut = resolve));
  const way = await proxy(site, {
    limit: 20e6,
    onLimit: () => {
      way.barred = /\/uploads/; // else the page goes on by itself before it is reloaded
      way.cut();
      cut();
    },
  });
  page.on("dialog", (dialog) => dialog.accept());
  await open(page, way);
  const path = save("reloaded.wav", wav({ tag: "-".repeat(30e6) }));
  const offsets = [];
  page.on("request", (request) => {
    if (request.method() === "PATCH") offsets.push(Number(request.headers()["upload-offset"]));
  });
  await byId(page, "file-input").setInputFiles(path);
  await reached;
  await page.reload();
  way.barred = null;
  await byId(page, "upload-card").getByRole("button", { name: "Choose the file" }).waitFor();
  await byId(page, "file-input").setInputFiles(path);
  const card_ = card(page, { name: "reloaded" });
  await card_.first().waitFor();
  const id = await jobId(card_);
  assert.ok(offsets.at(-1) > 0, `it began anew: ${offsets}`);
  await page.reload();
  await card(page, { id }).waitFor();
  await card(page, { id, state: "succeeded" }).waitFor();
  await page.reload();
  await card(page, { id, state: "succeeded" }).waitFor();
});

webTest("a reload while a song is separated", {}, async ({ page }) => {
  const own = await Site.create(STOPPED);
  await own.serve();
  await open(page, own);
  await choose(page, file("again.wav", wav({ seconds: 200, tag: "again" })));
  const id = await jobId(card(page, { name: "again" }));
  await own.begin(id);
  await card(page, { id, state: "running" }).waitFor();
  await page.reload();
  await card(page, { id, state: "running" }).waitFor();
  own.worker.kill("SIGCONT");
  await card(page, { id, state: "succeeded" }).waitFor();
});

webTest("two tabs show the same, and what one erases is gone in the other", {},
        async ({ page, context }) => {
  const other = await context.newPage();
  await open(page, site);
  await open(other, site);
  const id = await separate(page, wav({ tone: 11 }), "shared.wav");
  await card(other, { id, state: "succeeded" }).waitFor();
  await byId(card(other, { id }), "job-delete").click();
  await confirm(other);
  await card(other, { id }).waitFor({ state: "detached" });
  await card(page, { id }).waitFor({ state: "detached" });
  assert.equal(await site.job(id), null);
});

// 404: the mixer may be at its stems.
webTest("a song that another tab erases while it is open is told", { allow: [/ 404 /] },
        async ({ page, context }) => {
  const other = await context.newPage();
  await open(other, site);
  await open(page, site);
  const id = await separate(page, wav({ tone: 13 }), "shared.wav");
  await openMixer(page, id);
  await byId(card(other, { id }), "job-delete").click();
  await confirm(other);
  await page.getByText("does not know this song").waitFor();
  assert.equal(await byId(page, "mixer").count(), 0);
});

webTest("what cannot be erased stays, and says why", { allow: [/ 503 /] }, async ({ page }) => {
  await open(page, site);
  const id = await separate(page, wav({ tone: 14 }), "stays.wav");
  await page.route(`**/apiv2/jobs/${id}`, away);
  await byId(card(page, { id }), "job-delete").click();
  await confirm(page);
  const note = byId(card(page, { id }), "job-note");
  await waitFor("the reason", async () =>
    /queue cannot be reached.*try again/i.test(await note.innerText()));
  await page.unroute(`**/apiv2/jobs/${id}`);
  await byId(card(page, { id }), "job-delete").click();
  await confirm(page);
  await card(page, { id }).waitFor({ state: "detached" });
});

webTest("why a song was not canceled is told until it is done", { allow: [/ 503 /] },
        async ({ page }) => {
  const own = await Site.create(STOPPED);
  await own.serve();
  await open(page, own);
  await choose(page, file("goes-on.wav", wav({ seconds: 200, tag: "goes on" })));
  const id = await jobId(card(page, { name: "goes-on" }));
  await own.begin(id);
  const running = card(page, { id, state: "running" });
  await page.route(`**/apiv2/jobs/${id}`, (route) =>
    route.request().method() === "DELETE" ? away(route) : route.continue());
  await byId(running, "job-cancel").click();
  const note = byId(card(page, { id }), "job-note");
  await waitFor("the reason", async () => /queue cannot be reached/i.test(await note.innerText()));
  own.worker.kill("SIGCONT");
  await card(page, { id, state: "succeeded" }).waitFor();
  assert.equal(await note.count(), 0);
});

webTest("an answer that comes late brings no erased song back", {}, async ({ page }) => {
  const idle = await Site.create();
  await idle.serve();
  // Without streams the page asks; the first answer is held until the song is gone.
  await page.route(/events$/, (route) => route.fulfill({ status: 204 }));
  let held;
  const asked = new Promise((resolve) => (held = resolve));
  await page.route(/jobs\/\w{56}$/, async (route) => held([route, await route.fetch()]),
                   { times: 1 });
  await open(page, idle);
  await choose(page, file("late.wav", wav({ tone: 5 })));
  const late = card(page, { name: "late" });
  const [route, response] = await asked;
  await byId(late, "job-cancel").click();
  await late.waitFor({ state: "detached" });
  await Promise.all([page.waitForResponse(/jobs\/\w{56}$/), route.fulfill({ response })]);
  await choose(page, file("next.wav", wav({ tone: 6 })));
  await card(page, { name: "next" }).waitFor();
  assert.equal(await late.count(), 0);
});

webTest("a song that is opened while the server is away is there when it is back",
        { allow: [/net::/] }, async ({ page }) => {
  const own = await Site.usual();
  await open(page, own);
  const id = await separate(page, wav({ tone: 15 }), "away.wav");
  await page.reload();
  await card(page, { id, state: "succeeded" }).waitFor();
  await kill(own.server);
  await byId(card(page, { id }), "job-open").click();
  await page.locator(".view .bad").waitFor();
  await own.serve();
  await byId(page, "mixer").waitFor();
  assert.equal(await page.locator(".view .bad").count(), 0);
});

webTest("the place in the queue is told", {}, async ({ page }) => {
  const idle = await Site.create();
  await idle.serve();
  for (let tone = 1; tone <= 3; tone++) await idle.submit(wav({ tone }));
  await open(page, idle);
  await choose(page, file("fourth.wav", wav({ tone: 4 })));
  await card(page, { state: "queued", name: "fourth" }).waitFor();
  await page.getByText("3 songs are before it").waitFor();
  idle.work();
  await card(page, { state: "succeeded", name: "fourth" }).waitFor();
});

webTest("a history of 200 songs stays usable", {}, async ({ page }) => {
  const before = Date.now();
  const many = await Site.usual();
  for (let workers = 1; workers < 3; workers++) many.work();
  const jobs = [];
  for (let n = 1; n <= 200; n++)
    jobs.push(await many.submit(wav({ seconds: 0.1, tag: `many ${n}` }),
                                `name=song-${n}.wav&stems=bass&format=wav`));
  for (const { id } of jobs) await many.state(id, "succeeded");
  const made = Date.now();
  const done = [];
  for (const { id } of jobs) done.push(await many.job(id));
  await open(page, many);
  await page.evaluate((list) => localStorage.setItem("msaas.jobs", JSON.stringify(list)), done);
  const opened = Date.now();
  await page.reload();
  await card(page).first().waitFor();
  const shown = Date.now();
  const more = page.getByRole("button", { name: "Show more" });
  while (await more.count()) await more.click();
  await waitFor("all of them", async () => (await card(page).count()) === 200);
  const all = Date.now();
  const oldest = card(page, { id: jobs[0].id });
  await oldest.scrollIntoViewIfNeeded();
  await byId(oldest, "job-delete").click();
  await confirm(page);
  await oldest.waitFor({ state: "detached" });
  assert.equal(await card(page).count(), 199);
  const id = await separate(page, wav({ tone: 12 }), "newest.wav");
  assert.equal(await jobId(card(page)), id);
  console.log(`200 songs made in ${made - before} ms; first card after ${shown - opened} ms, ` +
              `all after ${all - opened} ms`);
});
