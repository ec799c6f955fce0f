// One song in the mixer, which is loaded when it is needed first.

import { useSignal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { request } from "./api/client";
import { Failure } from "./api/failure";
import type { Job } from "./api/types";
import { entryOf, entries, take } from "./jobs/store";
import { stateOf } from "./jobs/words";
import { texts } from "./texts";
import { Icon } from "./ui/icons";
import { songTitle } from "./ui/names";
import { Progress } from "./ui/progress";

type MixerType = ComponentType<{ job: Job }>;

export function SongView(props: { id: string }) {
  const { id } = props;
  const mixer = useSignal<MixerType | null>(null);
  const trouble = useSignal<string | null>(null);
  const heading = useRef<HTMLHeadingElement>(null);
  // Read so that a song which becomes known is shown.
  void entries.value;
  const job = entryOf(id)?.job.value;

  const load = () => {
    trouble.value = null;
    import("./mixer/mixer")
      .then((module) => (mixer.value = module.Mixer))
      .catch(() => (trouble.value = texts.view.failed));
    // The whole job: what history keeps of it has no stems.
    request<Job>(`/apiv2/jobs/${id}`)
      .then(({ body }) => take(body))
      .catch((error: unknown) => {
        if (!(error instanceof Failure)) throw error;
        trouble.value = error.code === "unknown_job" ? texts.view.unknown : texts.failure(error);
      });
  };
  useEffect(load, [id]);
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
        {job === undefined ? texts.view.loading : songTitle(job.input.name)}
      </h1>
      <p class="view-state muted">
        {job === undefined ? null : stateOf(job, 0) || texts.job.details(job)}
      </p>
      <div class="view-progress">
        {job !== undefined && running ? (
          <Progress value={job.progress} label={texts.job.progress(songTitle(job.input.name))} />
        ) : null}
      </div>
      {trouble.value !== null ? (
        <p class="bad">
          {trouble.value}{" "}
          <button type="button" class="button" onClick={load}>
            {texts.view.reload}
          </button>
        </p>
      ) : null}
      {Mixer !== null && ready ? <Mixer job={job} /> : <div class="view-wait" />}
    </section>
  );
}
