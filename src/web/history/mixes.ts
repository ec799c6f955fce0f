// Where the mixes of songs are kept: what drops them needs no mixer, see mixer/kept.ts.

import { load, save } from "../ui/keep";

export const MIXES_KEY = "msaas.mixes";

/** Drops the mixes of these songs, or all. */
export function dropMixes(ids?: string[]): void {
  const kept = load<unknown[]>(MIXES_KEY, [], (value) => (Array.isArray(value) ? value : null));
  const left = ids ? kept.filter((pair) => !(Array.isArray(pair) && ids.includes(pair[0]))) : [];
  if (left.length < kept.length) save(MIXES_KEY, left);
}
