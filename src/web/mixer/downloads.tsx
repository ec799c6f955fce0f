// What can be taken away but single stems: the mix as it is heard, all stems, a file for DJs. All
// are plain links, so that the browser shows their progress and keeps them.

import type { JSX } from "preact";

import type { Job } from "../api/types";
import { texts } from "../texts";
import type { Desk } from "./desk";
import { FORMATS, djUrl, mixUrl, zipUrl } from "./mix";

const t = texts.mixer;

export function Downloads({ desk, job }: { desk: Desk; job: Job }): JSX.Element {
  const format = desk.format.value;
  const faders = desk.faders.value;
  const region = desk.region.value;
  const dj = djUrl(job);
  const link = (name: string, url: string, text: string, kind = "button") => (
    <a
      class={kind}
      data-testid={`download-${name}`}
      href={url}
      download=""
      onClick={() => desk.downloading()}
    >
      {text}
    </a>
  );
  return (
    <div class="downloads" role="group" aria-label={t.downloads}>
      {link("mix", mixUrl(job, faders, format), t.takeMix, "button primary")}
      {region && link("loop", mixUrl(job, faders, format, region), t.takeLoop)}
      {link("zip", zipUrl(job, format), t.takeAll)}
      {dj && link("dj", dj, t.takeDj)}
      <label class="downloads-format">
        <span class="muted">{t.format}</span>
        <select
          data-testid="mix-format"
          value={format}
          onChange={(event) => (desk.format.value = event.currentTarget.value)}
        >
          {FORMATS.map((name) => (
            <option key={name} value={name}>
              {texts.options.formats[name]}
            </option>
          ))}
        </select>
      </label>
    </div>
  );
}
