// A song that the server has.

import { useEffect, useState } from "preact/hooks";

import { isActive } from "../history/stored";
import { wishAgain } from "../options/choice";
import { addressOf } from "../route";
import { texts } from "../texts";
import { chooseFile } from "../upload/drop";
import { addFiles, fileOf } from "../upload/store";
import { confirm } from "../ui/confirm";
import { Icon } from "../ui/icons";
import { songTitle } from "../ui/names";
import { Progress } from "../ui/progress";
import { erase, forget, type Entry } from "./store";
import { stateOf } from "./words";

const words = texts.job;

/** Seconds since then. Ticks while a job is not done, so that a worker that is away shows. */
function useWaited(since: number, ticks: boolean): number {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    if (!ticks) return;
    const timer = setInterval(() => setNow(Date.now()), 5000);
    return () => clearInterval(timer);
  }, [ticks]);
  return (now - since) / 1000;
}

async function askAndErase(entry: Entry, title: string): Promise<void> {
  const yes = await confirm(texts.confirm.eraseTitle(title), texts.confirm.eraseText);
  if (yes) await erase(entry.id);
}

function sendAgain(entry: Entry): void {
  const job = entry.job.peek();
  const add = (file: File) => {
    addFiles([file], wishAgain(job.options));
    forget([entry.id]);
  };
  const file = fileOf(entry.id);
  if (file === undefined) chooseFile(add);
  else add(file);
}

export function JobCard(props: { entry: Entry }) {
  const { entry } = props;
  const job = entry.job.value;
  const gone = entry.gone.value;
  const leaving = entry.leaving.value;
  const active = isActive(job.state) && !gone;
  const title = songTitle(job.input.name);
  const sentAt = job.state === "queued" ? job.created_at : null;
  const since = sentAt === null ? entry.moved : Date.parse(sentAt);
  const waited = useWaited(since, active);
  const hears = job.state === "running" && (job.preview_seconds ?? 0) > 0;
  const opens = !gone && !leaving && (job.state === "succeeded" || hears);
  const again = gone || ["failed", "canceled", "expired"].includes(job.state);
  const leavingText = active ? words.canceling : words.erasing;
  const state = leaving ? leavingText : gone ? words.gone : stateOf(job, waited);
  const note = entry.trouble.value ?? state;
  const bad = !leaving && (job.state === "failed" || entry.trouble.value !== null);
  return (
    <li
      class={opens ? "card opens" : "card"}
      data-testid="job-card"
      data-job-id={job.id}
      data-state={gone ? "gone" : job.state}
    >
      <div class="card-text">
        <h3 class="card-title">{opens ? <a href={addressOf(job.id)}>{title}</a> : title}</h3>
        {note === "" ? (
          <p class="card-details muted">{words.details(job)}</p>
        ) : (
          <p class={bad ? "card-state bad" : "card-state"} data-testid="job-note">
            {note}
          </p>
        )}
      </div>
      <div class="card-buttons">
        {opens ? (
          <a
            class={job.state === "running" ? "button" : "button primary"}
            href={addressOf(job.id)}
            data-testid="job-open"
          >
            {job.state === "running" ? words.listen : words.open}
            <span class="hidden"> {title}</span>
          </a>
        ) : null}
        {again && !leaving ? (
          <button
            type="button"
            class="button"
            data-testid="job-again"
            onClick={() => sendAgain(entry)}
          >
            <Icon name="again" />
            {job.state === "failed" ? words.again : words.againFile}
            <span class="hidden"> {title}</span>
          </button>
        ) : null}
        {active ? (
          <button
            type="button"
            class="button quiet icon-only"
            disabled={leaving}
            aria-label={`${words.cancel} ${title}`}
            title={words.cancel}
            data-testid="job-cancel"
            onClick={() => void erase(entry.id)}
          >
            <Icon name="close" />
          </button>
        ) : (
          <button
            type="button"
            class="button quiet icon-only"
            disabled={leaving}
            aria-label={`${gone ? words.remove : words.erase} ${title}`}
            title={gone ? words.remove : words.erase}
            data-testid="job-delete"
            onClick={() => void (gone ? erase(entry.id) : askAndErase(entry, title))}
          >
            <Icon name="trash" />
          </button>
        )}
      </div>
      {active ? (
        <Progress
          value={job.state === "running" ? job.progress : 0}
          label={words.progress(title)}
          testid="job-progress"
        />
      ) : null}
    </li>
  );
}
