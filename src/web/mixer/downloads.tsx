// What can be taken away: stems, all of them, the mix as the faders stand, and a file for DJs. All
// are plain links, so that the browser shows their progress and keeps them.

import { useSignal } from "@preact/signals";
import type { JSX } from "preact";

import type { Job } from "../api/types";
import { texts } from "../texts";
import type { Desk } from "./desk";
import { FORMATS, djUrl, mixUrl, stemUrl, zipUrl } from "./mix";

const t = texts.mixer;
const NOTE_MS = 8000;

export function Downloads({ desk, job }: { desk: Desk; job: Job }): JSX.Element {
  const format = useSignal<string>(job.options.format);
  const note = useSignal("");
  const say = () => {
    note.value = t.rendering;
    setTimeout(() => (note.value = ""), NOTE_MS);
  };
  const link = (testid: string, url: string, text: string, label?: string) => (
    <a class="button" data-testid={testid} href={url} download="" aria-label={label} onClick={say}>
      {text}
    </a>
  );
  const mix = (region = desk.region.value) => mixUrl(job, desk.faders.value, format.value, region);
  const dj = djUrl(job);
  return (
    <div class="downloads" role="group" aria-label={t.downloads}>
      <label class="downloads-format">
        {t.format}
        <select
          data-testid="mix-format"
          value={format.value}
          onChange={(event) => (format.value = event.currentTarget.value)}
        >
          {FORMATS.map((name) => (
            <option key={name} value={name}>
              {texts.options.formats[name]}
            </option>
          ))}
        </select>
      </label>
      <div class="downloads-row">
        <span class="downloads-what">{t.takeMix}</span>
        {link("download-mix", mix(null), t.wholeMix)}
        {desk.region.value && link("download-loop", mix(), t.loopMix)}
      </div>
      <div class="downloads-row">
        <span class="downloads-what">{t.takeStems}</span>
        {desk.stems.map((stem) =>
          link(
            `download-${stem}`,
            stemUrl(job, stem, format.value),
            texts.stem(stem),
            t.downloadStem(texts.stem(stem)),
          ),
        )}
        {link("download-zip", zipUrl(job, format.value), t.zip)}
        {dj && link("download-dj", dj, t.dj)}
      </div>
      <p class="mixer-note" role="status">
        {note}
      </p>
    </div>
  );
}
