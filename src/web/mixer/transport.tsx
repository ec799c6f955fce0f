// Play, position, loop; and one line that says what the player waits for.

import { useComputed } from "@preact/signals";
import type { JSX, TargetedEvent } from "preact";
import { useRef } from "preact/hooks";

import type { Job } from "../api/types";
import { texts } from "../texts";
import { Icon } from "../ui/icons";
import type { Desk } from "./desk";
import { clock } from "../ui/time";
import { part, position } from "./format";
import { leaveFocus } from "./keys";
import { playableEnd } from "./mix";
import { RATE } from "./timeline";

const t = texts.mixer;

export function Transport({ desk }: { desk: Desk }): JSX.Element {
  const { player } = desk;
  const length = desk.peaks.value.frames / RATE;
  const time = useComputed(() => position(player.position.value));
  return (
    <div class="transport">
      <PlayButton desk={desk} />
      <div class="transport-time" data-testid="time">
        <b>{time}</b> / {clock(length)}
      </div>
      <Seek desk={desk} length={length} />
      <LoopControls desk={desk} />
    </div>
  );
}

function PlayButton({ desk: { player } }: { desk: Desk }): JSX.Element {
  const paused = player.state.value === "paused";
  return (
    <button
      type="button"
      class="play"
      data-testid="play"
      data-state={player.state.value}
      aria-label={paused ? t.play : t.pause}
      title={t.playKey}
      onClick={() => (paused ? player.play() : player.pause())}
    >
      <svg viewBox="0 0 24 24" aria-hidden="true">
        <path d={paused ? "M7 4.5v15l12-7.5z" : "M6 4.5h4v15H6zM14 4.5h4v15h-4z"} />
      </svg>
    </button>
  );
}

function Seek({ desk, length }: { desk: Desk; length: number }): JSX.Element {
  // Tenths of a second, so that the slider changes ten times a second and not with each frame.
  const value = useComputed(() => Math.floor(desk.player.position.value * 10) / 10);
  const text = useComputed(() => t.positionText(clock(Math.floor(value.value)), clock(length)));
  // A drag that comes back to where it began ends without a change.
  const done = (event: TargetedEvent<HTMLInputElement>) =>
    desk.scrub(Number(event.currentTarget.value), "done");
  return (
    <input
      type="range"
      class="seek"
      data-testid="seek"
      aria-label={t.seek}
      aria-valuetext={text}
      title={t.seekKey}
      min={0}
      max={length}
      step={0.1}
      style={{ "--part": part(value.value, 0, length) }}
      value={value}
      onInput={(event) => desk.scrub(Number(event.currentTarget.value), "moves")}
      onChange={done}
      onPointerUp={done}
      onLostPointerCapture={done}
      onBlur={done}
      onKeyDown={(event) => seekByKey(event, desk)}
    />
  );
}

/** The arrows mean seconds here as everywhere in the mixer, not steps of the slider. */
function seekByKey(event: KeyboardEvent, desk: Desk): void {
  const sign = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
  if (!sign || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  desk.player.seek(desk.player.position.value + sign * (event.shiftKey ? 1 : 5));
}

function LoopControls({ desk }: { desk: Desk }): JSX.Element {
  const region = desk.region.value;
  const loop = useRef<HTMLButtonElement>(null);
  return (
    <div class="loop" role="group" aria-label={t.loopGroup}>
      <button
        type="button"
        class="button"
        data-testid="loop"
        ref={loop}
        aria-pressed={desk.player.loop.value !== null}
        title={t.loopKey}
        onMouseDown={leaveFocus}
        onClick={() => desk.toggleLoop()}
      >
        {t.loop}
      </button>
      <button
        type="button"
        class="button"
        data-testid="loop-in"
        title={t.loopInKey}
        onMouseDown={leaveFocus}
        onClick={() => desk.setEdge("start")}
      >
        {t.loopIn}
      </button>
      <button
        type="button"
        class="button"
        data-testid="loop-out"
        title={t.loopOutKey}
        onMouseDown={leaveFocus}
        onClick={() => desk.setEdge("end")}
      >
        {t.loopOut}
      </button>
      {region && (
        <>
          <span class="loop-times" data-testid="loop-times">
            {position(region.start / RATE)} – {position(region.end / RATE)}
          </span>
          <button
            type="button"
            class="button quiet icon-only"
            data-testid="loop-clear"
            aria-label={t.loopClear}
            title={t.loopClear}
            onMouseDown={leaveFocus}
            onClick={(event) => {
              if (event.currentTarget === document.activeElement) loop.current!.focus();
              desk.clearRegion();
            }}
          >
            <Icon name="close" />
          </button>
        </>
      )}
    </div>
  );
}

/** One line that says what the player waits for, or what can be done. */
export function Note({ desk, job }: { desk: Desk; job: Job }): JSX.Element {
  return (
    <p class="mixer-note" role="status" data-testid="mixer-note">
      {noteOf(desk, job)}
    </p>
  );
}

function noteOf(desk: Desk, job: Job): string {
  const { player, windows, peaks } = desk;
  const trouble = windows.trouble.value;
  if (trouble === "lost") return t.lost;
  if (trouble === "unreadable") return t.unreadable;
  if (trouble === 404 || trouble === 410) return t.gone;
  if (trouble === 401) return t.loggedOut;
  if (trouble !== null) return t.refused(trouble);
  const heard = playableEnd(job, peaks.value.frames) / RATE;
  const atEdge = job.state === "running" && player.position.value > heard - 0.2;
  if (player.state.value === "buffering") return atEdge ? t.waiting : t.buffering;
  if (desk.rendering.value) return t.rendering;
  if (job.state === "running") return t.previewing(clock(heard));
  return desk.peaksState.value === "never" ? t.noPeaks : "";
}
