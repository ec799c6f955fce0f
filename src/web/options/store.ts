// The choice, remembered; and the models on offer.

import { effect, signal } from "@preact/signals";

import { loginNeeded, request } from "../api/client";
import { Failure, retryDelay } from "../api/failure";
import type { Model } from "../api/types";
import { load, save } from "../ui/keep";
import { checkChoice, FIRST, type Choice } from "./choice";

const KEY = "msaas.options";

export const choice = signal<Choice>(FIRST);
export const models = signal<Model[] | null>(null);
export const modelsLate = signal(false);

export function setChoice(next: Choice): void {
  choice.value = next;
  save(KEY, next);
}

/** Once they are known, and there are any. */
export function knownModels(): Promise<Model[]> {
  return new Promise((resolve) => {
    const stop: () => void = effect(() => {
      const known = models.value;
      if (known === null || known.length === 0) return;
      resolve(known);
      queueMicrotask(() => stop());
    });
  });
}

export async function loadModels(attempt = 0): Promise<void> {
  try {
    models.value = (await request<{ models: Model[] }>("/apiv2/models")).body.models;
    modelsLate.value = false;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    if (loginNeeded.peek()) return;
    modelsLate.value = true;
    setTimeout(() => void loadModels(attempt + 1), retryDelay(error, attempt) ?? 15000);
  }
}

export function startOptions(): void {
  choice.value = load(KEY, FIRST, checkChoice);
  void loadModels();
}
