// How many a second, and how late.

const SPAN_MS = 2000;
const LEAST_MS = 500;
const UNKNOWN = "–";

/** Events of the last two seconds, each with a duration or without. */
export class Figures {
  /** @type {{ at: number, ms: number }[]} */
  #events = [];

  /**
   * @param {number} at in milliseconds
   * @param {number} ms
   */
  add(at, ms = 0) {
    this.#events.push({ at, ms });
  }

  /** Returns how many there are a second, as text. @param {number} now */
  rate(now) {
    const span = Math.min(SPAN_MS, now - this.#events[0]?.at);
    return span > LEAST_MS ? String(Math.round((1000 * (this.#recent(now).length - 1)) / span)) : UNKNOWN;
  }

  /** Returns the median duration in milliseconds, as text. @param {number} now */
  median(now) {
    const sorted = this.#recent(now)
      .map(({ ms }) => ms)
      .toSorted((a, b) => a - b);
    return sorted.length ? String(Math.round(sorted[sorted.length >> 1])) : UNKNOWN;
  }

  /** @param {number} now */
  #recent(now) {
    while (this.#events.length && this.#events[0].at < now - SPAN_MS) this.#events.shift();
    return this.#events;
  }
}
