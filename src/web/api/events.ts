// The events of one job. The browser's EventSource reconnects by itself and sends Last-Event-ID;
// what it gives up on (an error instead of a stream) is reported, and polling goes on without it.

import type { JobChange } from "./types";

export interface Stream {
  close(): void;
}

export function follow(
  id: string,
  onChange: (change: JobChange) => void,
  onClosed: () => void,
): Stream {
  const source = new EventSource(`/apiv2/jobs/${id}/events`);
  const take = (event: MessageEvent<string>) => onChange(JSON.parse(event.data) as JobChange);
  source.addEventListener("state", take);
  source.addEventListener("progress", take);
  source.addEventListener("error", () => {
    if (source.readyState === EventSource.CLOSED) onClosed();
  });
  return { close: () => source.close() };
}
