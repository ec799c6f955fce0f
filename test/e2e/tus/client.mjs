// node client.mjs ENDPOINT FILE STORAGE CHUNK_BYTES: sends a file with tus-js-client and prints the
// upload's URL. What an earlier run began, it finds in STORAGE and goes on with, at the server of
// ENDPOINT. CHUNK_BYTES 0: all in one request. Modules come from MSAAS_NODE_MODULES' folder.
import { createRequire } from "node:module";
import { createReadStream, statSync } from "node:fs";
import { basename } from "node:path";

const require = createRequire(process.env.MSAAS_NODE_MODULES + "/");
const tus = require("tus-js-client");
const [endpoint, file, storage, chunkBytes] = process.argv.slice(2);

const upload = new tus.Upload(createReadStream(file), {
  endpoint,
  chunkSize: Number(chunkBytes) || Infinity,
  uploadSize: statSync(file).size,
  uploadDataDuringCreation: process.env.TUS_WITH_DATA === "1",
  metadata: { filename: basename(file), filetype: "audio/wav" },
  retryDelays: [50, 100, 200, 400, 800, 1600, 3200, 3200, 3200, 3200, 3200, 3200],
  urlStorage: new tus.FileUrlStorage(storage),
  storeFingerprintForResuming: true,
  removeFingerprintOnSuccess: true,
  onProgress: (sent) => process.stdout.write(`${sent}\n`),
  onError: (error) => {
    process.stderr.write(`${error}\n`);
    process.exit(1);
  },
  onSuccess: () => process.stdout.write(`done ${upload.url}\n`),
});

const [previous] = await upload.findPreviousUploads();
if (previous !== undefined) {
  previous.uploadUrl = new URL(new URL(previous.uploadUrl).pathname, endpoint).href;
  upload.resumeFromPreviousUpload(previous);
}
upload.start();
