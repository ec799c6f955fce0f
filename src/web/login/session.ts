// Who asks, where the service has accounts. The cookie itself cannot be read here; the name is
// kept beside it so that a reload knows it.

import { signal } from "@preact/signals";

import { loginNeeded, request } from "../api/client";
import type { Session } from "../api/types";
import { isRecord, load, watch } from "../ui/keep";

const KEY = "msaas.session";

const read = () =>
  load<string | null>(KEY, null, (v) =>
    isRecord(v) && typeof v.name === "string" ? v.name : null,
  );

/** The account's name; null: no accounts, or not logged in. */
export const account = signal<string | null>(null);

export function startSession(onLogin: () => void): void {
  account.value = read();
  watch(KEY, () => {
    account.value = read();
    if (account.value === null) return;
    loginNeeded.value = false;
    onLogin();
  });
}

export async function login(token: string): Promise<void> {
  const { body } = await request<Session>("/apiv2/session", {
    method: "POST",
    headers: { Authorization: `Bearer ${token}` },
  });
  localStorage.setItem(KEY, JSON.stringify({ name: body.name }));
  account.value = body.name;
  loginNeeded.value = false;
}

export async function logout(): Promise<void> {
  await request("/apiv2/session", { method: "DELETE" });
  localStorage.removeItem(KEY);
  account.value = null;
  loginNeeded.value = true;
}
