// A song on its way to the server.

import { Icon } from "../ui/icons";
import { Progress } from "../ui/progress";
import { texts } from "../texts";
import { chooseFile } from "./drop";
import { addFiles, cancel, pause, tryNow, type Item } from "./store";

const words = texts.upload;

function state(item: Item): string {
  const phase = item.phase.value;
  const done = item.offset.value;
  switch (phase.name) {
    case "waiting":
      return words.waiting;
    case "sending": {
      const rate = item.rate.value;
      const parts = [words.sending(done, item.size)];
      if (rate !== null && rate > 0) {
        parts.push(words.speed(rate), words.left((item.size - done) / rate));
      }
      return parts.join(" · ");
    }
    case "paused":
      return words.paused(done, item.size);
    case "starting":
      return words.starting;
    case "interrupted":
      return words.interrupted(done, item.size);
    case "failed":
      return texts.failure(phase.failure);
    case "stalled": {
      if (phase.failure.status === 0) return words.lost;
      if (phase.failure.status === 401) return words.login;
      const why = texts.failure(phase.failure);
      const soon = phase.at - Date.now() < 60000;
      return soon ? words.againSoon(why) : words.again(why, new Date(phase.at));
    }
  }
}

export function UploadCard(props: { item: Item }) {
  const { item } = props;
  const phase = item.phase.value;
  const bad = phase.name === "failed";
  return (
    <li class="card" data-testid="upload-card" data-state={phase.name}>
      <div class="card-text">
        <h3 class="card-title">{item.title}</h3>
        <p class={bad ? "card-state bad" : "card-state"} data-testid="job-note">
          {state(item)}
        </p>
      </div>
      <div class="card-buttons">
        {phase.name === "sending" || phase.name === "waiting" ? (
          <button type="button" class="button quiet" onClick={() => pause(item)}>
            <Icon name="pause" />
            {words.pause}
            <span class="hidden"> {item.title}</span>
          </button>
        ) : null}
        {phase.name === "paused" ? (
          <button type="button" class="button" onClick={() => tryNow(item)}>
            <Icon name="play" />
            {words.resume}
            <span class="hidden"> {item.title}</span>
          </button>
        ) : null}
        {phase.name === "stalled" || bad ? (
          <button type="button" class="button" onClick={() => tryNow(item)}>
            {bad ? words.tryAgain : words.tryNow}
            <span class="hidden"> {item.title}</span>
          </button>
        ) : null}
        {phase.name === "interrupted" ? (
          <button
            type="button"
            class="button"
            onClick={() => chooseFile((file) => addFiles([file], item.record.wish))}
          >
            {words.chooseFile}
            <span class="hidden"> {item.title}</span>
          </button>
        ) : null}
        <button
          type="button"
          class="button quiet icon-only"
          aria-label={`${words.cancel} ${item.title}`}
          title={words.cancel}
          data-testid="upload-cancel"
          onClick={() => cancel(item)}
        >
          <Icon name="close" />
        </button>
      </div>
      {bad ? null : (
        <Progress
          value={phase.name === "starting" ? null : item.offset.value / Math.max(1, item.size)}
          label={words.progress(item.title)}
          testid="upload-progress"
        />
      )}
    </li>
  );
}
