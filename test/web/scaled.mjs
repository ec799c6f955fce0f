// The page over Redis and an S3 server (run by radosgw.py, which names it in the environment).
import {
  STEMS, Site, byId, endless, freePort, heard, open, openMixer, playing, position, separate, start,
  waitFor, wav, webTest, join, scratch,
} from "./harness.mjs";

const port = await freePort();
start("redis-server", ["--bind", "127.0.0.1", "--port", port, "--dir", scratch, "--save", ""],
      { env: process.env, log: join(scratch, "redis.log") });
const aws = Object.entries(process.env).filter(([name]) => name.startsWith("AWS_"));
const site = await Site.create({
  ...Object.fromEntries(aws), MSAAS_QUEUE: `redis://127.0.0.1:${port}/0`, MSAAS_STORE: "s3://web-",
});
await site.serve();
site.work();

webTest("a song is sent, played and erased", {}, async ({ page }) => {
  await open(page, site);
  const id = await separate(page, wav({ seconds: 12, tone: 4, rate: 44100 }), "far.wav");
  await openMixer(page, id);
  await endless(page);
  await byId(page, "play").click();
  await waitFor("sound", () => playing(page));
  for (const stem of STEMS) await heard(page, stem, true);
  await byId(page, "seek").fill("7");
  await waitFor("the song to advance", async () => (await position(page)) > 7.5);
});
