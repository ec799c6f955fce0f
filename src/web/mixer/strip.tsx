// The row of a stem: its name, solo, mute, volume, pan, waveform and download.

import type { ReadonlySignal } from "@preact/signals";
import type { JSX } from "preact";

import type { Job } from "../api/types";
import { texts } from "../texts";
import { Icon } from "../ui/icons";
import type { Desk } from "./desk";
import { decibelText, part } from "./format";
import { leaveFocus } from "./keys";
import { LOUDEST, SILENCE, decibels, stemUrl } from "./mix";
import { Wave } from "./wave";

const t = texts.mixer;

interface Props {
  desk: Desk;
  job: Job;
  stem: string;
  index: number;
  width: ReadonlySignal<number>;
}

export function Strip({ desk, job, stem, index, width }: Props): JSX.Element {
  const fader = desk.faders.value[stem]!;
  const silent = decibels(desk.faders.value, stem) === -Infinity;
  const name = texts.stem(stem);
  const set = (change: Partial<typeof fader>) => desk.setFader(stem, change);
  return (
    <div
      class={silent ? "strip silent" : "strip"}
      style={{ "--stem": `var(--stem-${stem}, var(--stem-any))` }}
      data-testid={`stem-${stem}`}
      role="group"
      aria-label={name}
    >
      <div class="strip-head">
        <h2>{name}</h2>
        <Toggle
          kind="solo"
          stem={stem}
          on={fader.solo}
          name={name}
          index={index}
          set={(solo) => set({ solo })}
        />
        <Toggle
          kind="mute"
          stem={stem}
          on={fader.mute}
          name={name}
          index={index}
          set={(mute) => set({ mute })}
        />
        {job.state !== "succeeded" ? (
          <span class="strip-gap" />
        ) : (
          <a
            class="button quiet icon-only"
            data-testid={`download-${stem}`}
            href={stemUrl(job, stem, desk.format.value)}
            download=""
            aria-label={t.downloadStem(name)}
            title={t.downloadStem(name)}
            onClick={() => desk.downloading()}
          >
            <Icon name="download" />
          </a>
        )}
      </div>
      <div class="strip-faders">
        <Slider
          kind="volume"
          stem={stem}
          label={t.volume}
          name={name}
          min={SILENCE}
          max={LOUDEST}
          step={0.5}
          value={fader.volume}
          text={decibelText(fader.volume)}
          set={(volume) => set({ volume })}
        />
        <Slider
          kind="pan"
          stem={stem}
          label={t.pan}
          name={name}
          min={-1}
          max={1}
          step={0.05}
          value={fader.pan}
          text={t.panText(Math.round(fader.pan * 100))}
          set={(pan) => set({ pan })}
        />
      </div>
      <Wave desk={desk} stem={stem} width={width} />
    </div>
  );
}

function Toggle(props: {
  kind: "solo" | "mute";
  stem: string;
  name: string;
  index: number;
  on: boolean;
  set: (on: boolean) => void;
}): JSX.Element {
  const { kind, stem, name, index, on, set } = props;
  return (
    <button
      type="button"
      class={`toggle ${kind}`}
      data-testid={`${kind}-${stem}`}
      aria-pressed={on}
      aria-label={t[kind](name)}
      title={t[`${kind}Key`](index + 1)}
      onMouseDown={leaveFocus}
      onClick={() => set(!on)}
    >
      {t[`${kind}Short`]}
    </button>
  );
}

function Slider(props: {
  kind: "volume" | "pan";
  stem: string;
  name: string;
  label: string;
  min: number;
  max: number;
  step: number;
  value: number;
  text: string;
  set: (value: number) => void;
}): JSX.Element {
  const { kind, stem, name, label, min, max, step, value, text, set } = props;
  return (
    <label class={`slider ${kind}`} title={t.resetHint}>
      <span class="slider-label" aria-hidden="true">
        {label}
      </span>
      <input
        type="range"
        data-testid={`${kind}-${stem}`}
        aria-label={t.fader(label, name)}
        aria-valuetext={text}
        min={min}
        max={max}
        step={step}
        style={{ "--part": part(value, min, max) }}
        value={value}
        onInput={(event) => set(Number(event.currentTarget.value))}
        onDblClick={() => set(0)}
        onKeyDown={(event) => {
          if (!["Backspace", "Delete", "0"].includes(event.key)) return;
          event.preventDefault();
          set(0);
        }}
      />
      <output class="slider-text" aria-hidden="true">
        {text}
      </output>
    </label>
  );
}
