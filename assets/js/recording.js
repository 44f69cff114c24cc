// The rows that the server keeps while the visitor records.
/** @import { Answer } from "./types.d.ts" */
import { save } from "./files.js";
import { ask } from "./stream.js";

const NAME = "webcam-faces.csv";

/** @typedef {(number: number) => Promise<{ rows: number, csv?: string }>} Fetch the server's function */

export class Recording {
  #box;
  #words;
  #fetch;
  #count = 0; // a new number begins a new one
  #note = ""; // what became of it
  #kept = 0; // rows, by the server, as of its last answer
  #lost = 0; // rows that it forgot
  /** The number of the one whose rows the server is to keep; 0 for none. */
  number = 0;

  /**
   * @param {HTMLInputElement} box ticked while recording; disabled until it is listened to
   * @param {HTMLElement} words where to say how far it is
   * @param {Fetch} fetch
   */
  constructor(box, words, fetch) {
    this.#box = box;
    this.#words = words;
    this.#fetch = fetch;
    box.addEventListener("change", () => this.#changed());
    box.disabled = false;
  }

  /**
   * Takes in what an answer says about the recording.
   *
   * @param {Answer} answer
   * @param {number} number of the recording that its frame was sent with
   */
  take({ rows }, number) {
    if (!this.number || number !== this.number || rows === undefined) return;
    if (rows < this.#kept) this.#lost += this.#kept;
    this.#kept = rows;
  }

  /** Says how far it is. @param {Answer} answer the last one */
  show({ rows, full }) {
    if (!this.number || this.#note || rows === undefined) return;
    const lost = this.#lost ? `; the server forgot the ${this.#lost} before` : "";
    this.#words.textContent = `· ${full ? `full at ${rows} rows: untick to download` : `${rows} rows`}${lost}`;
  }

  async #changed() {
    this.#say("");
    if (this.#box.checked) {
      // After an answer that was lost, the same one goes on.
      if (!this.number) [this.number, this.#kept, this.#lost] = [(this.#count += 1), 0, 0];
      return;
    }
    this.#box.disabled = true;
    // Until the rows are here, frames go on to ask the server to keep them.
    const result = await ask(this.#fetch, this.number);
    this.#box.disabled = false;
    this.#box.checked = !result;
    if (!result) return this.#say("· the server does not answer: untick again");
    this.number = 0;
    if (!result.rows || !result.csv) return this.#say("· nothing was recorded");
    this.#say("");
    save(new Blob([result.csv], { type: "text/csv" }), NAME);
  }

  /** @param {string} words */
  #say(words) {
    this.#note = words;
    this.#words.textContent = words;
  }
}
