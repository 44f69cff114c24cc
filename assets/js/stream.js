// Frames go up, answers come down, no picture does.
/** @import { Answer } from "./types.d.ts" */

const PATIENCE_MS = 10000; // with an answer of the server
const RETRY_MS = 2000; // after a problem
const SLOW_MS = 120; // a server that is quicker analyses one frame while the next is on its way; another would only queue
const SILENCE = "The server does not answer: this page waits, and goes on when it is back.";

/**
 * Returns the server's answer; undefined where none comes.
 *
 * @template Data, Result
 * @param {(data: Data) => Promise<Result>} call
 * @param {Data} data
 * @returns {Promise<Result | undefined>}
 */
export async function ask(call, data) {
  /** @type {number | undefined} */
  let timer;
  const late = new Promise((done) => (timer = window.setTimeout(done, PATIENCE_MS)));
  try {
    return /** @type {Result | undefined} */ (await Promise.race([call(data), late]));
  } catch {
    return undefined;
  } finally {
    window.clearTimeout(timer);
  }
}

/** Says whether the server answers. One that was started anew gives another token with its page. */
async function isThere() {
  const options = { method: "HEAD", signal: AbortSignal.timeout(PATIENCE_MS) };
  try {
    return (await fetch(document.baseURI, { ...options, cache: "no-store" })).ok;
  } catch {
    return false;
  }
}

/** The frames of one visitor on their way to the server and back. */
export class FrameStream {
  #call;
  #flying = 0;
  #retryAt = 0;
  #newest = -Infinity;
  #ms = Infinity;
  #run = 0;
  #lost = false; // whether it is not known that the server knows us

  /** @param {(data: object) => Promise<Answer & { late?: boolean, problem?: string, line?: number }>} call the server's function */
  constructor(call) {
    this.#call = call;
  }

  /** Begins anew. */
  begin() {
    this.end();
    this.#flying = this.#retryAt = 0;
    this.#forget();
    this.#find();
  }

  /** Drops the answers to frames of before. */
  end() {
    this.#run += 1;
  }

  /** Counts the beginnings: what belongs to an earlier one is not to be shown any more. */
  get run() {
    return this.#run;
  }

  /**
   * Says whether another frame may be sent.
   *
   * @param {number} now in milliseconds
   */
  ready(now) {
    return !this.#lost && this.#flying < (this.#ms < SLOW_MS ? 2 : 1) && now >= this.#retryAt;
  }

  /**
   * Sends a frame.
   *
   * @param {number} takenAt when it was taken, in milliseconds
   * @param {object} data what the server's function takes, but for the time
   * @returns {Promise<Answer | { problem: string, line?: number, silent: boolean } | null>} null where a newer one has come first
   */
  async send(takenAt, data) {
    const mine = this.#run;
    this.#flying += 1;
    const result = await ask(this.#call, { ...data, time: takenAt / 1000 });
    if (mine !== this.#run) return null;
    this.#flying -= 1;
    if (!result || result.problem) {
      this.#retryAt = performance.now() + RETRY_MS;
      this.#forget();
      if (!result) this.#find();
      return { problem: result?.problem ?? SILENCE, line: result?.line, silent: !result };
    }
    if (result.late || takenAt <= this.#newest) return null;
    this.#newest = takenAt;
    this.#ms = result.ms;
    return result;
  }

  /** Waits for the server before any frame is sent. */
  async #find() {
    if (this.#lost) return;
    this.#lost = true;
    await this.#look();
  }

  async #look() {
    if (await isThere()) this.#lost = false;
    else window.setTimeout(() => this.#look(), RETRY_MS);
  }

  #forget() {
    this.#newest = -Infinity;
    this.#ms = Infinity;
  }
}
