// Who asks, where the service has accounts. The cookie itself cannot be read here; the name is
// kept beside it so that a reload knows it.

import { signal } from "@preact/signals";

import { request, sessionChanged } from "../api/client";
import type { Session } from "../api/types";
import { isRecord, load, remove, save, watch } from "../ui/keep";

const KEY = "msaas.session";

const read = () =>
  load<string | null>(KEY, null, (v) =>
    isRecord(v) && typeof v.name === "string" ? v.name : null,
  );

/** The account's name; null: no accounts, or not logged in. */
export const account = signal<string | null>(null);

let onLeave = () => {};

function become(name: string | null): void {
  const before = account.peek();
  if (before !== null && before !== name) onLeave();
  account.value = name;
}

/** Whether the service answers only who has logged in; true if that cannot be told now. */
async function hasAccounts(): Promise<boolean> {
  try {
    return !(await fetch("/apiv2/models", { credentials: "omit", cache: "no-store" })).ok;
  } catch {
    return true;
  }
}

/** `leave` is called when the account has logged out or another one has logged in. */
export function startSession(onLogin: () => void, leave: () => void): void {
  onLeave = leave;
  account.value = read();
  watch(KEY, () => {
    const before = account.peek();
    const now = read();
    if (now === null && before === null) return;
    sessionChanged(now === null);
    become(now);
    if (now !== null) onLogin();
  });
}

export async function login(token: string): Promise<void> {
  const { body } = await request<Session>("/apiv2/session", {
    method: "POST",
    headers: { Authorization: `Bearer ${token}` },
  });
  // The name of before would be wrong.
  if (!save(KEY, { name: body.name })) remove(KEY);
  become(body.name);
  sessionChanged(false);
}

export async function logout(): Promise<void> {
  const [needed] = await Promise.all([
    hasAccounts(),
    request("/apiv2/session", { method: "DELETE" }),
  ]);
  remove(KEY);
  become(null);
  sessionChanged(needed);
}
