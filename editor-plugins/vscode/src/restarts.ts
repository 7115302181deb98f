/** How often, and when, a language server that ended by itself is started again. Pure policy. */

/** Pauses before the first, second, … start, in milliseconds. */
const PAUSES = [200, 1000, 5000];
/** Ends that are longer ago than this, in milliseconds, are forgotten. */
const MEMORY = 180_000;

/** Remembers the ends of the language server. Times are milliseconds of any steady clock. */
export class Restarts {
  private ends: number[] = [];

  /** It ended at `now` → the pause before it is started again, null: not again. */
  ended(now: number): number | null {
    this.ends = this.ends.filter((end) => now - end < MEMORY);
    const pause = PAUSES[this.ends.length] ?? null;
    this.ends.push(now);
    return pause;
  }

  /** The user starts it: all is forgiven. */
  forget(): void {
    this.ends = [];
  }
}
