// The few parts of a browser that a desk is made with, to be imported before it. Nothing sounds.

const events = new EventTarget();
const kept = new Map<string, string>();

const timers = new Map<number, { run: () => void; at: number }>();
let now = 0;
let last = 0;

class OfflineAudioContext {
  decodeAudioData = () => new Promise(() => {});
}

Reflect.deleteProperty(globalThis, "BroadcastChannel");
Object.assign(globalThis, {
  window: globalThis,
  addEventListener: events.addEventListener.bind(events),
  removeEventListener: events.removeEventListener.bind(events),
  OfflineAudioContext,
  setTimeout: (run: () => void, ms: number) => {
    timers.set(++last, { run, at: now + ms });
    return last;
  },
  clearTimeout: (id: number) => timers.delete(id),
  localStorage: {
    getItem: (key: string) => kept.get(key) ?? null,
    setItem: (key: string, value: string) => void kept.set(key, value),
    removeItem: (key: string) => void kept.delete(key),
  },
});

/** What another tab does to localStorage. */
export function keptElsewhere(key: string, value: unknown): void {
  localStorage.setItem(key, JSON.stringify(value));
  events.dispatchEvent(Object.assign(new Event("storage"), { key }));
}

const settled = () => new Promise((resolve) => setImmediate(resolve));

/** Lets time pass, with the timers that end in it, and all that waits for none. */
export async function pass(seconds: number): Promise<void> {
  for (const end = now + 1000 * seconds; now < end; now += 100) {
    for (let n = 0; n < 3; n++) await settled();
    for (const [id, { run, at }] of timers) if (at <= now && timers.delete(id)) run();
  }
}
