// What the address names: #/ID is a song in the mixer, all else the list.

import { signal } from "@preact/signals";

/** The id of the song that is open; null: the list. */
export const openId = signal<string | null>(null);

export function idOf(hash: string): string | null {
  return /^#\/([0-9a-f]{56})$/.exec(hash)?.[1] ?? null;
}

export const addressOf = (id: string) => `#/${id}`;

export function startRoute(): void {
  const read = () => {
    openId.value = idOf(location.hash);
  };
  window.addEventListener("hashchange", read);
  read();
}
