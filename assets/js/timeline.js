// Emotions now, as bars, and over a while, as stacked shares in the same colours.
/** @import { LiveFace, Shares } from "./types.d.ts" */

const SAMPLE_MS = 250; // between two samples
const MOST = 1200; // samples: of a longer time, every other one is left out
const STALE_MS = 2000; // a sample holds no longer

/** @typedef {(emotion: string) => string} Colors */

/**
 * Shows shares as bars.
 *
 * @param {HTMLElement} place
 * @param {Shares} emotion
 * @param {Colors} colorOf
 */
export function showBars(place, emotion, colorOf) {
  if (place.children.length !== emotion.length) {
    place.innerHTML = emotion.map(() => "<div><span></span><i><b></b></i><output></output></div>").join("");
  }
  emotion.forEach(([name, share, text], n) => {
    const [label, bar, value] = place.children[n].children;
    label.textContent = name;
    /** @type {HTMLElement} */ (bar.firstChild).style.cssText = `width: ${100 * share}%; background: ${colorOf(name)}`;
    value.textContent = text;
  });
}

/** The emotions of everybody over a while. */
export class Timeline {
  #canvas;
  #colorOf;
  #span;
  #every = SAMPLE_MS;
  /** @type {{ at: number, emotions: Map<number, Shares | null> }[]} */
  #samples = [];
  #end = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Colors} colorOf
   * @param {number} span in milliseconds, up to now; Infinity for all there was
   */
  constructor(canvas, colorOf, span) {
    this.#canvas = canvas;
    this.#colorOf = colorOf;
    this.#span = span;
  }

  /** How long it is, in milliseconds. */
  get span() {
    return Math.min(this.#span, Math.max(this.#end - (this.#samples[0]?.at ?? this.#end), 1));
  }

  clear() {
    this.#samples = [];
    this.#every = SAMPLE_MS;
    this.#canvas.getContext("2d")?.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
  }

  /**
   * Takes in the faces of a frame.
   *
   * @param {LiveFace[]} faces
   * @param {number} at when it was taken, in milliseconds
   */
  add(faces, at) {
    this.#end = at;
    const samples = this.#samples;
    const last = samples.at(-1);
    if (!faces.some((face) => face.emotion) || (last && last.at > at - this.#every)) return;
    while (samples.length && samples[0].at < at - this.#span) samples.shift();
    if (samples.length >= MOST) {
      this.#samples = samples.filter((_, n) => n % 2 === 0);
      this.#every *= 2;
    }
    this.#samples.push({ at, emotions: new Map(faces.map((face) => [face.id, face.emotion])) });
  }

  /** @param {number | undefined} id of the person to show */
  show(id) {
    const canvas = this.#canvas;
    Object.assign(canvas, { width: canvas.clientWidth, height: canvas.clientHeight });
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    const span = this.#span < Infinity ? this.#span : this.span;
    const holds = Math.max(STALE_MS, 2 * this.#every);
    // In whole pixels: between columns that share one, the background would show.
    const column = (/** @type {number} */ at) => Math.round(canvas.width * (1 - (this.#end - at) / span));
    this.#samples.forEach(({ at, emotions }, index) => {
      const left = column(at);
      const wide = column(Math.min(this.#samples[index + 1]?.at ?? this.#end, at + holds)) - left;
      let bottom = canvas.height;
      for (const [name, share] of (id !== undefined && emotions.get(id)) || []) {
        pen.fillStyle = this.#colorOf(name);
        pen.fillRect(left, bottom - share * canvas.height, wide, share * canvas.height);
        bottom -= share * canvas.height;
      }
    });
  }
}
