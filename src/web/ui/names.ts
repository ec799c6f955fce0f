// How a song is called on the page: its file's name without the ending.

import { texts } from "../texts";

export function songTitle(name: string | null): string {
  if (name === null || name.trim() === "") return texts.unnamed;
  const title = name.replace(/\.[A-Za-z0-9]{1,5}$/, "").trim();
  return title === "" ? name : title;
}
