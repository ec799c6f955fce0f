// The mixer of a job: transport, ruler, a strip for each stem, and what can be taken away.

import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { JSX } from "preact";

import type { Job } from "../api/types";
import { models } from "../options/store";
import { songTitle } from "../ui/names";
import { texts } from "../texts";
import { Desk } from "./desk";
import { Downloads } from "./downloads";
import { actionOf, type Action, type Focus } from "./keys";
import { stemsOf } from "./mix";
import { Strip } from "./strip";
import { RATE } from "./timeline";
import { Note, Transport } from "./transport";
import { Ruler } from "./wave";

const t = texts.mixer;

export function Mixer({ job }: { job: Job }): JSX.Element {
  const stems = useStems(job);
  if (stems.length === 0) return <p class="mixer-note">{t.loading}</p>;
  return <Board key={`${job.id} ${stems.join()}`} job={job} stems={stems} />;
}

/** The job's stems: those of a job at work may be all of its model's. */
function useStems(job: Job): readonly string[] {
  const model = models.value?.find(({ name }) => name === job.options.model);
  const stems = stemsOf(job, model?.stems ?? null);
  return useMemo(() => stems, [stems.join()]);
}

function Board({ job, stems }: { job: Job; stems: readonly string[] }): JSX.Element {
  const [desk, setDesk] = useState<Desk | null>(null);
  useEffect(() => {
    const made = new Desk(job, stems);
    setDesk(made);
    return () => made.close();
  }, []);
  useEffect(() => desk?.update(job), [desk, job]);
  return (
    <section class="mixer" data-testid="mixer" aria-label={t.title(songTitle(job.input.name))}>
      {desk && <Controls desk={desk} job={job} />}
    </section>
  );
}

function Controls({ desk, job }: { desk: Desk; job: Job }): JSX.Element {
  const root = useRef<HTMLDivElement>(null);
  const width = useSignal(0);
  useKeys(desk);
  usePlayheads(desk, root, width);
  return (
    <div
      ref={root}
      onPointerDown={() => desk.player.expose()}
      onFocusIn={() => desk.player.expose()}
    >
      <Transport desk={desk} />
      <div class="mixer-board">
        <Note desk={desk} job={job} />
        <Ruler desk={desk} width={width} />
        {desk.stems.map((stem, i) => (
          <Strip key={stem} desk={desk} job={job} stem={stem} index={i} width={width} />
        ))}
      </div>
      {job.state === "succeeded" && <Downloads desk={desk} job={job} />}
    </div>
  );
}

/** Moves all playheads with the song, and keeps the width of the waveforms, without a new render:
 * this runs with every frame of the screen. */
function usePlayheads(
  desk: Desk,
  root: { current: HTMLElement | null },
  width: { value: number },
): void {
  useEffect(() => {
    const waves = root.current!.querySelectorAll<HTMLElement>(".wave");
    const heads = root.current!.querySelectorAll<HTMLElement>(".playhead");
    const place = (seconds: number) => {
      const at = (seconds * RATE * width.value) / desk.peaks.value.frames || 0;
      for (const head of heads) head.style.transform = `translateX(${at}px)`;
    };
    const stop = desk.player.position.subscribe(place);
    const observer = new ResizeObserver(() => {
      width.value = waves[0]!.clientWidth;
      place(desk.player.position.value);
    });
    observer.observe(waves[0]!);
    return () => {
      stop();
      observer.disconnect();
    };
  }, [desk]);
}

function useKeys(desk: Desk): void {
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (!desk.player.isLast || event.defaultPrevented) return;
      const action = actionOf(event, focusOf(event.target as Element));
      if (!action) return;
      event.preventDefault();
      if (!event.repeat || action.do === "seek-by") act(desk, action);
    };
    document.addEventListener("keydown", press);
    return () => document.removeEventListener("keydown", press);
  }, [desk]);
}

function focusOf(element: Element): Focus {
  if (element.matches("input[type=range]")) return "slider";
  if (element.matches("input[type=checkbox], input[type=radio], button, summary")) return "button";
  return element.matches("input, select, textarea, [contenteditable]") ? "text" : "other";
}

function act(desk: Desk, action: Action): void {
  const { player } = desk;
  switch (action.do) {
    case "toggle":
      return player.state.value === "paused" ? player.play() : player.pause();
    case "seek-by":
      return player.seek(player.position.value + action.seconds);
    case "loop":
      return desk.toggleLoop();
    case "loop-in":
      return desk.setEdge("start");
    case "loop-out":
      return desk.setEdge("end");
    default: {
      const stem = desk.stems[action.index];
      if (stem) desk.setFader(stem, { [action.do]: !desk.faders.value[stem]![action.do] });
    }
  }
}
