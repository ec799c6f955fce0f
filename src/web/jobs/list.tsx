// Songs on their way, and songs that the server has.

import { useSignal } from "@preact/signals";

import { isActive } from "../history/stored";
import { account } from "../login/session";
import { texts } from "../texts";
import { UploadCard } from "../upload/card";
import { items } from "../upload/store";
import { confirm } from "../ui/confirm";
import { JobCard } from "./card";
import { moreOfAccount, nextPage } from "./live";
import { entries, eraseAll, historyLost } from "./store";

const words = texts.songs;

function EraseAll() {
  const done = useSignal<{ done: number; all: number } | null>(null);
  const ended = entries.value.filter((entry) => !isActive(entry.job.value.state));
  if (done.value !== null) {
    return <span class="muted">{words.erasing(done.value.done, done.value.all)}</span>;
  }
  if (ended.length < 2) return null;
  const ask = async () => {
    const ids = ended.map((entry) => entry.id);
    const yes = await confirm(texts.confirm.allTitle(ids.length), texts.confirm.allText);
    if (!yes) return;
    done.value = { done: 0, all: ids.length };
    await eraseAll(ids, (n) => (done.value = { done: n, all: ids.length }));
    done.value = null;
  };
  return (
    <button type="button" class="button quiet" data-testid="erase-all" onClick={() => void ask()}>
      {words.eraseAll}
    </button>
  );
}

function More() {
  const cursor = nextPage.value;
  if (account.value === null || cursor === null) return null;
  // A page that does not come leaves the button where it is.
  const load = () => void moreOfAccount(cursor).catch(() => undefined);
  return (
    <button type="button" class="button" onClick={load}>
      {words.more}
    </button>
  );
}

export function Songs() {
  const sending = items.value;
  const songs = entries.value;
  return (
    <section class="songs" aria-labelledby="songs-heading">
      <div class="songs-head">
        <h2 id="songs-heading">{words.heading}</h2>
        <EraseAll />
      </div>
      {historyLost.value ? <p class="muted">{words.historyLost}</p> : null}
      {sending.length + songs.length === 0 ? (
        <p class="muted songs-empty">{words.empty}</p>
      ) : (
        <ul class={songs.length > 40 ? "cards many" : "cards"} aria-labelledby="songs-heading">
          {sending.map((item) => (
            <UploadCard key={item.key} item={item} />
          ))}
          {songs.map((entry) => (
            <JobCard key={entry.id} entry={entry} />
          ))}
        </ul>
      )}
      <More />
    </section>
  );
}
