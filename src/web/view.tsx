// One song in the mixer, which is loaded when it is needed first.

import { useSignal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { request } from "./api/client";
import { Failure, retryDelay } from "./api/failure";
import type { Job } from "./api/types";
import { entryOf, entries, take } from "./jobs/store";
import { stateOf } from "./jobs/words";
import { texts } from "./texts";
import { Icon } from "./ui/icons";
import { songTitle } from "./ui/names";
import { Progress } from "./ui/progress";

type MixerType = ComponentType<{ job: Job }>;

async function loadMixer(): Promise<MixerType> {
  try {
    return (await import("./mixer/mixer")).Mixer;
  } catch {
    throw new Failure(0, "no_mixer", "");
  }
}

export function SongView(props: { id: string }) {
  const { id } = props;
  const mixer = useSignal<MixerType | null>(null);
  const trouble = useSignal<string | null>(null);
  const tries = useSignal(0);
  const heading = useRef<HTMLHeadingElement>(null);
  // Read so that a song which becomes known is shown.
  void entries.value;
  const entry = entryOf(id);
  const job = entry?.gone.value === true ? undefined : entry?.job.value;
  const known = useRef(false);
  if (job !== undefined) known.current = true;
  // One that was known and is not any more was erased, in another tab or by another client.
  const why = trouble.value ?? (job === undefined && known.current ? texts.view.unknown : null);

  useEffect(() => {
    let timer = 0;
    let open = true;
    const load = async (attempt: number) => {
      try {
        // The whole job: what history keeps of it has no stems.
        const [answer, code] = await Promise.all([request<Job>(`/apiv2/jobs/${id}`), loadMixer()]);
        take(answer.body);
        mixer.value = code;
        trouble.value = null;
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        const delay = retryDelay(error, attempt);
        const text = error.code === "unknown_job" ? texts.view.unknown : texts.failure(error);
        trouble.value = delay === null ? text : texts.view.again(text);
        if (delay !== null && open) timer = window.setTimeout(() => void load(attempt + 1), delay);
      }
    };
    void load(0);
    return () => {
      open = false;
      window.clearTimeout(timer);
    };
  }, [id, tries.value]);
  useEffect(() => heading.current?.focus(), [id]);

  const Mixer = mixer.value;
  const ready = job !== undefined && (job.state === "running" || job.stems.length > 0);
  const running = job?.state === "running";
  return (
    <section class="view" aria-labelledby="view-title">
      <a class="button quiet view-back" href="#/">
        <Icon name="back" />
        {texts.view.back}
      </a>
      <h1 id="view-title" ref={heading} tabIndex={-1}>
        {job !== undefined
          ? songTitle(job.input.name)
          : why === null
            ? texts.view.loading
            : texts.view.closed}
      </h1>
      <p class="view-state muted">
        {job === undefined ? null : stateOf(job, 0) || texts.job.details(job)}
      </p>
      <div class="view-progress">
        {job !== undefined && running ? (
          <Progress value={job.progress} label={texts.job.progress(songTitle(job.input.name))} />
        ) : null}
      </div>
      {why !== null ? (
        <p class="bad">
          {why}{" "}
          <button type="button" class="button" onClick={() => (tries.value += 1)}>
            {texts.view.reload}
          </button>
        </p>
      ) : null}
      {Mixer !== null && ready ? <Mixer job={job} /> : <div class="view-wait" />}
    </section>
  );
}
