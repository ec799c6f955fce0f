// Requests to the service, and what they tell about it: whether it can be reached, and whether it
// wants to know who asks.

import { signal } from "@preact/signals";

import { Failure, failureOf } from "./failure";

/** No answer came to the last request. */
export const connectionLost = signal(false);
/** The service has accounts, and does not know who asks. */
export const loginNeeded = signal(false);

let sessions = 0;

/** Somebody has logged in or out, here or in another tab. */
export function sessionChanged(needed: boolean): void {
  sessions += 1;
  loginNeeded.value = needed;
}

/** To be called before a request; what it returns, when that was answered 401. It asks for a log-in
 * unless there was one meanwhile: then the answer is late, and it returns false. */
export function asking(): () => boolean {
  const session = sessions;
  return () => {
    if (session !== sessions) return false;
    return (loginNeeded.value = true);
  };
}

/** As fetch; an answer 401 asks for a log-in. */
export async function ask(url: string, init: RequestInit): Promise<Response> {
  const refused = asking();
  const answer = await fetch(url, init);
  if (answer.status === 401) refused();
  return answer;
}

export interface Answer<T> {
  status: number;
  headers: Headers;
  body: T;
}

export interface RequestOptions {
  method?: string;
  headers?: Record<string, string>;
  json?: unknown;
}

/** Sends it, and reads JSON where there is any. Whatever is not 2xx is thrown as a Failure. */
export async function request<T>(path: string, options: RequestOptions = {}): Promise<Answer<T>> {
  const headers: Record<string, string> = { ...options.headers };
  const init: RequestInit = { method: options.method ?? "GET", headers, cache: "no-store" };
  if (options.json !== undefined) {
    headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(options.json);
  }
  let answer: Response;
  let text: string;
  try {
    answer = await ask(path, init);
    text = await answer.text();
  } catch {
    connectionLost.value = true;
    throw new Failure(0, "network", "");
  }
  connectionLost.value = false;
  if (answer.ok) {
    const body = (text === "" ? undefined : JSON.parse(text)) as T;
    return { status: answer.status, headers: answer.headers, body };
  }
  throw failureOf(answer.status, text, answer.headers.get("Retry-After"));
}
