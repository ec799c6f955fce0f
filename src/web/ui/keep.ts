// localStorage as a place for values. It may be full, forbidden or hold anything: then the page
// works on without it.

export function load<T>(key: string, fallback: T, check: (value: unknown) => T | null): T {
  try {
    const text = localStorage.getItem(key);
    return text === null ? fallback : (check(JSON.parse(text)) ?? fallback);
  } catch {
    return fallback;
  }
}

/** False: it could not be kept. */
export function save(key: string, value: unknown): boolean {
  try {
    localStorage.setItem(key, JSON.stringify(value));
    return true;
  } catch {
    return false;
  }
}

export function remove(key: string): void {
  try {
    localStorage.removeItem(key);
  } catch {
    // Forbidden: then nothing is there.
  }
}

/** Calls when another tab of this browser changed the value. Returns what ends that. */
export function watch(key: string, onChange: () => void): () => void {
  const heard = (event: StorageEvent) => {
    if (event.key === key || event.key === null) onChange();
  };
  window.addEventListener("storage", heard);
  return () => window.removeEventListener("storage", heard);
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
