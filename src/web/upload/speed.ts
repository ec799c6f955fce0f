// Bytes per second over the last seconds. Pure: tested by speed.test.ts.

const WINDOW_MS = 4000;

export class Speed {
  private readonly points: { at: number; bytes: number }[] = [];

  add(at: number, bytes: number): void {
    this.points.push({ at, bytes });
    while (this.points.length > 2 && at - (this.points[0]?.at ?? at) > WINDOW_MS)
      this.points.shift();
  }

  /** Null: not known yet. */
  rate(): number | null {
    const first = this.points[0];
    const last = this.points[this.points.length - 1];
    if (first === undefined || last === undefined || last.at - first.at < 300) return null;
    return ((last.bytes - first.bytes) * 1000) / (last.at - first.at);
  }

  clear(): void {
    this.points.length = 0;
  }
}
