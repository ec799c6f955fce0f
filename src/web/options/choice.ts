// What shall become of the next songs. Pure: tested by choice.test.ts.

import type { Model } from "../api/types";
import { isRecord } from "../ui/keep";

export const FORMATS = ["mp3", "flac", "wav", "m4a", "opus"] as const;
export type Format = (typeof FORMATS)[number];

export interface Choice {
  /** Empty: the server's default. */
  model: string;
  mode: "stems" | "karaoke";
  /** Stems that are not wanted: so a model's other stems are, whatever they are. */
  without: string[];
  /** The stem of karaoke. */
  split: string;
  format: Format;
}

export const FIRST: Choice = {
  model: "",
  mode: "stems",
  without: [],
  split: "vocals",
  format: "mp3",
};

export function checkChoice(value: unknown): Choice | null {
  if (!isRecord(value)) return null;
  return {
    model: typeof value.model === "string" ? value.model : FIRST.model,
    mode: value.mode === "karaoke" ? "karaoke" : "stems",
    without: Array.isArray(value.without) ? value.without.map(String) : [],
    split: typeof value.split === "string" ? value.split : FIRST.split,
    format: FORMATS.find((format) => format === value.format) ?? FIRST.format,
  };
}

export function modelOf(choice: Choice, models: Model[]): Model | undefined {
  return models.find((m) => m.name === choice.model) ?? models.find((m) => m.default) ?? models[0];
}

export function splitOf(choice: Choice, model: Model): string | undefined {
  return model.stems.includes(choice.split)
    ? choice.split
    : (model.stems.find((stem) => stem === "vocals") ?? model.stems[0]);
}

/** The stems that stay. All, if none would. */
export function wantedOf(choice: Choice, model: Model): string[] {
  const wanted = model.stems.filter((stem) => !choice.without.includes(stem));
  return wanted.length === 0 ? model.stems : wanted;
}

/** With the stem, or without it; the last one stays. */
export function toggled(choice: Choice, model: Model, stem: string): Choice {
  const wanted = wantedOf(choice, model);
  if (!wanted.includes(stem)) {
    return { ...choice, without: choice.without.filter((name) => name !== stem) };
  }
  if (wanted.length === 1) return choice;
  return { ...choice, without: [...choice.without, stem] };
}

/** The options of POST /apiv2/jobs. `without` is none of them: see settled(). */
export type Wish = Record<string, string | string[]>;

/** While no models are known, it is what was chosen, whether they have it or not. */
export function wishOf(choice: Choice, models: Model[]): Wish {
  const wish: Wish = { format: choice.format };
  const model = modelOf(choice, models);
  const name = model?.name ?? choice.model;
  if (name !== "") wish.model = name;
  if (choice.mode === "karaoke") {
    const split = model === undefined ? choice.split : splitOf(choice, model);
    if (split !== undefined) wish.two_stems = split;
  } else if (model === undefined) {
    if (choice.without.length > 0) wish.without = choice.without;
  } else {
    const wanted = wantedOf(choice, model);
    if (wanted.length < model.stems.length) wish.stems = wanted;
  }
  return wish;
}

/** The stems that a model keeps without some can only be named when it is known. */
export const isSettled = (wish: Wish) => wish.without === undefined;

export function settled(wish: Wish, models: Model[]): Wish {
  return isSettled(wish) ? wish : wishOf(checkChoice(wish) ?? FIRST, models);
}

/** The same options again, for a job that ended. */
export function wishAgain(options: {
  model: string;
  stems: string[] | null;
  two_stems: string | null;
  format: string;
}): Wish {
  const wish: Wish = { format: options.format };
  if (options.model !== "") wish.model = options.model;
  if (options.two_stems !== null) wish.two_stems = options.two_stems;
  if (options.stems !== null) wish.stems = options.stems;
  return wish;
}
