// What lies on the time of the song: the ruler, where a loop is drawn, and the waveforms, where one
// seeks. The bars are one path of an SVG, made anew when the peaks or the width change and at no
// other time; the playhead lies above it and moves by itself.

import { useComputed, type ReadonlySignal } from "@preact/signals";
import type { JSX, TargetedPointerEvent } from "preact";

import { texts } from "../texts";
import type { Desk, Phase } from "./desk";
import { clock } from "../ui/time";
import { markStep } from "./format";
import { barPath, bars } from "./peaks";
import { RATE } from "./timeline";

const t = texts.mixer;
/** Pixels. */
const BAR = 3;
const HEIGHT = 64;
const MARK = 90;
const HANDLE = 12;

type Drag = (frame: number, start: number, phase: Phase) => void;

/** Handlers that turn a drag along an element into frames of the song. */
function drags(desk: Desk, drag: Drag, begin: (frame: number) => number = (frame) => frame) {
  let start: number | null = null;
  const frameOf = (event: TargetedPointerEvent<HTMLElement>) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    const part = Math.min(1, Math.max(0, (event.clientX - left) / width));
    return Math.round(part * desk.peaks.value.frames);
  };
  return {
    onPointerDown(event: TargetedPointerEvent<HTMLElement>) {
      if (event.button !== 0) return;
      event.currentTarget.setPointerCapture(event.pointerId);
      start = begin(frameOf(event));
      drag(frameOf(event), start, "moves");
    },
    onPointerMove(event: TargetedPointerEvent<HTMLElement>) {
      if (start !== null) drag(frameOf(event), start, "moves");
    },
    onPointerUp(event: TargetedPointerEvent<HTMLElement>) {
      if (start !== null) drag(frameOf(event), start, "done");
      start = null;
    },
    onPointerCancel(event: TargetedPointerEvent<HTMLElement>) {
      if (start !== null) drag(frameOf(event), start, "off");
      start = null;
    },
  };
}

function percent(part: number, whole: number): string {
  return whole > 0 ? `${(100 * part) / whole}%` : "0";
}

function Region({ desk }: { desk: Desk }): JSX.Element | null {
  const region = desk.region.value;
  const { frames } = desk.peaks.value;
  if (!region) return null;
  return (
    <div
      class={desk.player.loop.value ? "region" : "region off"}
      style={{
        left: percent(region.start, frames),
        width: percent(region.end - region.start, frames),
      }}
    />
  );
}

export function Ruler({ desk, width }: { desk: Desk; width: ReadonlySignal<number> }): JSX.Element {
  const { frames } = desk.peaks.value;
  const step = markStep(frames / RATE, Math.max(2, width.value / MARK));
  const marks = [...Array(Math.ceil(frames / RATE / step)).keys()].map((i) => i * step);
  const drag = drags(
    desk,
    (frame, start, phase) => desk.dragRegion(frame, start, phase),
    (frame) => desk.grabRegion(frame, (HANDLE * frames) / Math.max(1, width.value)),
  );
  return (
    <div class="ruler" data-testid="ruler" title={t.ruler} aria-hidden="true" {...drag}>
      <Region desk={desk} />
      {marks.map((mark) => (
        <span key={mark} class="ruler-mark" style={{ left: percent(mark * RATE, frames) }}>
          {clock(mark)}
        </span>
      ))}
      <div class="playhead" />
    </div>
  );
}

export function Wave(props: {
  desk: Desk;
  stem: string;
  width: ReadonlySignal<number>;
}): JSX.Element {
  const { desk, stem, width } = props;
  const path = useComputed(() => {
    const count = Math.floor(width.value / BAR);
    const bins = desk.peaks.value.stems.get(stem)?.bins ?? new Uint8Array(1);
    return barPath(bars(bins, count, desk.loudest.value), BAR, HEIGHT);
  });
  const drag = drags(desk, (frame, _, phase) => desk.scrub(frame / RATE, phase));
  return (
    <div class="wave" data-testid={`wave-${stem}`} aria-hidden="true" {...drag}>
      <svg height={HEIGHT}>
        <path d={path} />
      </svg>
      <Region desk={desk} />
      <div class="playhead" />
    </div>
  );
}
