// Emotions now, as bars, and over the last seconds, as stacked shares in the same colours.
/** @import { LiveFace, Shares } from "./types.d.ts" */

const SAMPLE_MS = 250; // between two samples
const WINDOW_MS = 30000;
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

/** The emotions of everybody over the last seconds. */
export class Timeline {
  #canvas;
  #colorOf;
  /** @type {{ at: number, emotions: Map<number, Shares | null> }[]} */
  #samples = [];
  #end = 0;

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {Colors} colorOf
   */
  constructor(canvas, colorOf) {
    this.#canvas = canvas;
    this.#colorOf = colorOf;
  }

  clear() {
    this.#samples = [];
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
    if (!faces.some((face) => face.emotion) || (last && last.at > at - SAMPLE_MS)) return;
    while (samples.length && samples[0].at < at - WINDOW_MS) samples.shift();
    samples.push({ at, emotions: new Map(faces.map((face) => [face.id, face.emotion])) });
  }

  /** @param {number | undefined} id of the person to show */
  show(id) {
    const canvas = this.#canvas;
    Object.assign(canvas, { width: canvas.clientWidth, height: canvas.clientHeight });
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    // In whole pixels: between columns that share one, the background would show.
    const column = (/** @type {number} */ at) => Math.round(canvas.width * (1 - (this.#end - at) / WINDOW_MS));
    this.#samples.forEach(({ at, emotions }, index) => {
      const left = column(at);
      const wide = column(Math.min(this.#samples[index + 1]?.at ?? this.#end, at + STALE_MS)) - left;
      let bottom = canvas.height;
      for (const [name, share] of (id !== undefined && emotions.get(id)) || []) {
        pen.fillStyle = this.#colorOf(name);
        pen.fillRect(left, bottom - share * canvas.height, wide, share * canvas.height);
        bottom -= share * canvas.height;
      }
    });
  }
}
