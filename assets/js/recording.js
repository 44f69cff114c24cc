// The rows that the page keeps while the visitor records: nothing is lost with the server.
/** @import { Row } from "./types.d.ts" */
import { save } from "./files.js";

const NAME = "webcam-faces.csv";
const MAX_ROWS = 100000; // one face for an hour

/**
 * @typedef {object} Parts
 * @property {HTMLInputElement} box ticked while recording; disabled until it is listened to
 * @property {HTMLButtonElement} button that saves
 * @property {HTMLElement} words where to say how far it is
 */

export class Recording {
  #parts;
  #most;
  /** @type {Row[]} */
  #rows = [];
  #saved = 0; // rows
  #live = false; // whether the camera is on
  /** When its first frame was taken, in milliseconds. @type {number | null} */
  #began = null;

  /**
   * @param {Parts} parts
   * @param {number} most rows
   */
  constructor(parts, most = MAX_ROWS) {
    this.#parts = parts;
    this.#most = most;
    parts.box.addEventListener("change", () => this.#changed());
    parts.button.addEventListener("click", () => this.#save());
    window.addEventListener("beforeunload", (event) => this.unsaved && event.preventDefault());
    parts.box.disabled = false;
  }

  /** Whether frames are to be recorded. */
  get on() {
    return this.#live && this.#parts.box.checked;
  }

  /** How many rows were not saved yet. */
  get unsaved() {
    return this.#rows.length - this.#saved;
  }

  /** The camera was started. */
  begin() {
    this.#live = true;
    this.#changed();
  }

  /** The camera was stopped: so is the recording. */
  end() {
    this.#live = this.#parts.box.checked = false;
    this.#show();
  }

  /**
   * Keeps the rows of a frame.
   *
   * @param {Row[]} rows one a face
   * @param {number} takenAt in milliseconds on the page's clock
   */
  add(rows, takenAt) {
    if (!this.on) return;
    this.#began ??= takenAt;
    if (this.#rows.length + rows.length > this.#most) {
      this.#parts.box.checked = false;
      return this.#show(`Full at ${this.#rows.length} rows: save them, then record anew.`);
    }
    const time = Math.round(takenAt - this.#began) / 1000;
    const clock = localTime(new Date(performance.timeOrigin + takenAt));
    for (const row of rows) this.#rows.push({ time, clock, ...row });
    this.#show();
  }

  #changed() {
    // What was not saved stays, and more comes to it.
    if (this.#parts.box.checked && !this.unsaved) {
      [this.#rows, this.#saved, this.#began] = [[], 0, null];
    }
    this.#show();
  }

  /** @param {string} [words] */
  #show(words) {
    const { box, button, words: place } = this.#parts;
    const count = this.#rows.length;
    button.hidden = !count;
    if (words) place.textContent = words;
    else if (box.checked && !this.#live) place.textContent = "Recording begins when the camera is on.";
    else if (!count) place.textContent = box.checked ? "Recording: no face so far." : "";
    else place.textContent = `${count} ${count === 1 ? "row" : "rows"}${this.unsaved ? ", not saved yet" : " saved"}`;
  }

  #save() {
    // With the byte-order mark by which Excel knows UTF-8.
    save(new Blob(["\ufeff", toCsv(this.#rows)], { type: "text/csv" }), NAME);
    this.#saved = this.#rows.length;
    this.#show();
  }
}

/** Returns rows as CSV, as of faceinsight/export.py. @param {Row[]} rows */
function toCsv(rows) {
  const header = [...new Set(rows.flatMap(Object.keys))];
  return line(header) + rows.map((row) => line(header.map((name) => row[name]))).join("");
}

/** @param {unknown[]} values */
const line = (values) => `${values.map(cell).join(",")}\r\n`;

/** @param {unknown} value */
function cell(value) {
  if (typeof value !== "string") return String(value ?? "");
  // A spreadsheet takes a cell that begins so for a formula.
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** @param {number} number */
const two = (number) => String(Math.floor(Math.abs(number))).padStart(2, "0");

/** Returns a time as of ISO 8601, of the visitor's zone. @param {Date} date */
function localTime(date) {
  const ahead = -date.getTimezoneOffset();
  const there = new Date(date.getTime() + ahead * 60000).toISOString().slice(0, -1);
  return `${there}${ahead < 0 ? "-" : "+"}${two(ahead / 60)}:${two(ahead % 60)}`;
}
