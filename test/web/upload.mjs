// How songs come in: by the file dialog, by drop, over connections that break, and what is refused.
import {
  Site, assert, byId, card, choose, drop, file, jobId, kill, open, openMixer, proxy, refuse,
  rmSync, save, separate, waitFor, wav, webTest,
} from "./harness.mjs";

const site = await Site.usual({ MSAAS_MAX_SONG_MINUTES: 1 });

webTest("songs chosen in the file dialog are separated", {}, async ({ page }) => {
  await open(page, site);
  await choose(page, file("one.wav", wav({ tone: 1 })), file("two.wav", wav({ tone: 2 })));
  for (const name of ["one", "two"]) await card(page, { state: "succeeded", name }).waitFor();
  const job = await site.job(await jobId(card(page, { name: "one" })));
  assert.equal(job.input.name, "one.wav");
});

webTest("songs that are dropped are separated", {}, async ({ page }) => {
  await open(page, site);
  await drop(page, file("three.wav", wav({ tone: 3 })), file("four.wav", wav({ tone: 4 })));
  for (const name of ["three", "four"]) await card(page, { state: "succeeded", name }).waitFor();
});

webTest("model, stems and format are those that were chosen", {}, async ({ page }) => {
  await open(page, site);
  await byId(page, "format-select").selectOption("flac");
  await byId(page, "stem-check-drums").uncheck();
  const id = await separate(page, wav({ tone: 5 }), "chosen.wav");
  const { options, stems } = await site.job(id);
  assert.equal(options.format, "flac");
  assert.equal(options.model, "tiny");
  assert.deepEqual(stems.map((stem) => stem.name).sort(), ["bass", "other", "vocals"]);
});

webTest("what is no music is refused with the reason", { allow: [/ 422 /] }, async ({ page }) => {
  await open(page, site);
  const text = Buffer.from("This is a letter, and not a song at all.\n".repeat(100));
  await choose(page, file("letter.txt", text));
  await page.getByText("no music in this file").waitFor();
  const id = await separate(page, wav({ tone: 9 }), "music.wav");
  await openMixer(page, id);
  assert.equal(await page.getByText("Sending").count(), 0, "what was refused is not sent");
});

webTest("a file that cannot be read is told, and the next one is sent", { allow: [/net::/] },
        async ({ page }) => {
  const path = save("moved.wav", wav({ tone: 6 }));
  let held;
  const asked = new Promise((resolve) => (held = resolve));
  await page.route(/uploads$/, held, { times: 1 });
  await open(page, site);
  await byId(page, "file-input").setInputFiles(path);
  const first = await asked;
  await choose(page, file("next.wav", wav({ tone: 8 })));
  await page.getByText("the song before it").waitFor();
  rmSync(path);
  await first.continue();
  await page.getByText("cannot read this file").waitFor();
  await card(page, { state: "succeeded", name: "next" }).waitFor();
  assert.equal(await byId(page, "connection-note").count(), 0);
});

webTest("a job that fails shows why", {}, async ({ page }) => {
  await open(page, site);
  await choose(page, file("long.wav", wav({ seconds: 61 })));
  const failed = card(page, { state: "failed" });
  await failed.waitFor();
  const note = await byId(failed, "job-note").innerText();
  const { error } = await site.job(await jobId(failed));
  assert.equal(error.code, "input");
  assert.match(note, /cannot be used: .*\b1 min|60 s|longer/i, `${note} | ${error.message}`);
});

webTest("an upload that the server's death interrupts goes on where it was",
        { allow: [/ERR_CONNECTION|ERR_EMPTY|ERR_INCOMPLETE|net::/] }, async ({ page }) => {
  const own = await Site.usual();
  const dead = new Promise((resolve) => own.dies = resolve);
  const way = await proxy(own, {
    limit: 40e6, onLimit: () => void kill(own.server).then(own.dies),
  });
  const offsets = [];
  page.on("request", (request) => {
    const headers = request.headers();
    if (request.method() === "PATCH") offsets.push(Number(headers["upload-offset"]));
  });
  await open(page, way);
  const song = wav({ tag: "-".repeat(60e6) });
  // From the disk: the driver sends no buffers as large as this.
  await byId(page, "file-input").setInputFiles(save("large.wav", song));
  await dead;
  await byId(page, "connection-note").waitFor();
  await own.serve();
  const done = card(page, { state: "succeeded", name: "large" });
  await done.waitFor();
  await byId(page, "connection-note").waitFor({ state: "hidden" });
  assert.equal(offsets.filter((from) => from === 0).length, 1, `it began anew: ${offsets}`);
  const { input } = await own.job(await jobId(done));
  assert.equal(input.bytes, song.length);
});

webTest("a song that is there already is not separated again", {}, async ({ page }) => {
  const song = wav({ tone: 7 });
  const job = await site.submit(song, "format=mp3&name=before.wav");
  const done = await site.state(job.id, "succeeded");
  await open(page, site);
  assert.equal(await separate(page, song, "before.wav"), job.id);
  assert.equal((await site.job(job.id)).finished_at, done.finished_at);
});

webTest("a song that cannot join the queue after a reload holds no other one",
        { allow: [/ 422 /, / 404 /] }, async ({ page }) => {
  const stuck = byId(page, "upload-card").filter({ hasText: "stuck" });
  const tryAgain = stuck.getByRole("button", { name: "Try again" });
  const path = save("stuck.wav", wav({ tone: 40 }));
  await open(page, site);
  await page.route(/jobs$/, () => {}); // no answer
  await byId(page, "file-input").setInputFiles(path);
  await page.getByText("Joining the queue").waitFor();
  await page.route(/jobs$/, refuse(422, "invalid_option"));
  await page.reload();
  await page.getByText("does not take these options").waitFor();
  await page.route(/jobs$/, refuse(404, "unknown_upload"));
  await tryAgain.click();
  await page.getByText("does not have the uploaded file").waitFor();
  await page.unroute(/jobs$/);
  await tryAgain.click();
  await separate(page, wav({ tone: 41 }), "other.wav");
  const [chooser] = await Promise.all([
    page.waitForEvent("filechooser"),
    stuck.getByRole("button", { name: "Choose the file" }).click(),
  ]);
  await chooser.setFiles(path);
  await card(page, { state: "succeeded", name: "stuck" }).waitFor();
});

webTest("a song that is canceled while it joins the queue is not separated", {},
        async ({ page }) => {
  await open(page, site);
  const there = await separate(page, wav({ tone: 42 }), "there.wav");
  const canceled = async (name, song) => {
    let joined;
    const job = new Promise((resolve) => (joined = resolve));
    await page.route(/jobs$/, async (route) => {
      const response = await route.fetch();
      joined([route, response, await response.json()]);
    }, { times: 1 });
    await choose(page, file(name, song));
    const [route, response, { id }] = await job;
    await byId(page, "upload-cancel").click();
    await byId(page, "upload-card").waitFor({ state: "detached" });
    await route.fulfill({ response });
    return id;
  };
  const id = await canceled("canceled.wav", wav({ seconds: 200, tone: 43 }));
  await waitFor("the job to be gone", async () => (await site.job(id)) === null);
  assert.equal(await card(page, { id }).count(), 0);
  assert.equal(await canceled("there.wav", wav({ tone: 42 })), there);
  await separate(page, wav({ tone: 44 }), "after.wav");
  assert.ok(await site.job(there), "what was there before is erased");
});

webTest("what was chosen holds while the models cannot be listed", { allow: [/ 503 /] },
        async ({ page }) => {
  const chosen = async (choice) => {
    await page.evaluate((value) => localStorage.setItem("msaas.options", JSON.stringify(value)),
                        { format: "mp3", split: "vocals", without: [], ...choice });
    await page.reload();
  };
  await open(page, site);
  await page.route(/models$/, (route) => route.fulfill({ status: 503, body: "" }));
  await chosen({ model: "six", mode: "karaoke" });
  await page.getByText("models cannot be listed").waitFor();
  await choose(page, file("karaoke.wav", wav({ tone: 45 })));
  const karaoke = await site.job(await jobId(card(page, { name: "karaoke" })));
  assert.equal(karaoke.options.model, "six");
  assert.equal(karaoke.options.two_stems, "vocals");
  await chosen({ model: "tiny", mode: "stems", without: ["bass"] });
  await page.getByText("models cannot be listed").waitFor();
  await choose(page, file("without.wav", wav({ tone: 46 })));
  await page.getByText("Joining the queue").waitFor();
  await page.unroute(/models$/);
  const id = await jobId(card(page, { state: "succeeded", name: "without" }));
  assert.deepEqual((await site.job(id)).options.stems.sort(), ["drums", "other", "vocals"]);
});

webTest("songs that wait to be sent outlive a reload", { allow: [/net::/] }, async ({ page }) => {
  const asks = () => page.evaluate(() =>
    !window.dispatchEvent(new Event("beforeunload", { cancelable: true })));
  const names = ["first", "second", "third"];
  const paths = names.map((name, n) => save(`${name}.wav`, wav({ tone: 50 + n })));
  const upload = (name) => byId(page, "upload-card").filter({ hasText: name });
  await open(page, site);
  assert.equal(await asks(), false);
  await page.route(/uploads$/, () => {}, { times: 1 }); // no answer
  await byId(page, "file-input").setInputFiles(paths);
  for (const name of [...names].reverse()) // else the next one begins
    await upload(name).getByRole("button", { name: "Pause" }).click();
  assert.equal(await asks(), true);
  page.on("dialog", (dialog) => dialog.accept());
  await page.reload();
  for (const name of names)
    await upload(name).getByRole("button", { name: "Choose the file" }).waitFor();
  assert.equal(await asks(), false);
  await byId(page, "file-input").setInputFiles(paths);
  for (const name of names) await card(page, { state: "succeeded", name }).waitFor();
  assert.equal(await asks(), false);
  await page.reload();
  await card(page, { name: "third" }).waitFor();
  assert.equal(await page.evaluate(() => localStorage.getItem("msaas.uploads")), "[]");
});
