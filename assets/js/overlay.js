// Faces and labels over a picture or a video of the page, which can be pointed at, chosen by a click, or by keys.
/** @import { Box, Scene } from "./types.d.ts" */
/** @import { Place } from "./labels.js" */
import { draw, hideAll } from "./drawing.js";
import { LabelLayout } from "./labels.js";

// In pixels of the screen, whatever the picture's own: labels are read there.
const NARROW = 420; // pixels of a picture in which the words of several people would be all that is seen
const [LEAST_TEXT, MOST_TEXT, TEXT_SHARE] = [12, 15, 1 / 36];

/** @type {Record<string, number>} */
const STEPS = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };

/**
 * @typedef {object} Options
 * @property {string} [id] of the canvas
 * @property {(id: number | null) => void} [choose] told of the number of the face that was chosen; null for none. It
 *   has to show the scene again, with `chosen`. Without it, nothing can be chosen.
 * @property {string} [name] what the overlay is called for those who hear the page
 */

/** A canvas that lies over a picture or video and is drawn upon. */
export class Overlay {
  #media;
  #choose;
  canvas;
  /** @type {Scene | null} */
  #scene = null;
  #hidden = false;
  /** @type {number | null} */
  #hovered = null;
  #layout = new LabelLayout();
  /** @type {(Place | null)[]} */
  #places = [];

  /**
   * Lays a canvas over an element, which its style (of the class "face-overlay") stretches over the same place.
   *
   * @param {HTMLVideoElement | HTMLImageElement} media shown whole in its element, as of "object-fit: contain"
   * @param {Options} options
   */
  constructor(media, { id = "", choose, name = "Faces: choose one with the arrow keys" } = {}) {
    this.#media = media;
    this.#choose = choose;
    this.canvas = Object.assign(document.createElement("canvas"), { id, className: "face-overlay" });
    media.after(this.canvas);
    if (!choose) return;
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-label", name);
    this.canvas.addEventListener("keydown", (event) => this.#onKey(event));
    /** @type {HTMLElement} */
    const below = media;
    below.addEventListener("click", (event) => this.#scene && choose(this.at(event)?.id || null));
    below.addEventListener("pointermove", (event) => this.hover(this.at(event)?.id || null));
    below.addEventListener("pointerleave", () => this.hover(null));
  }

  /** Shows nothing. */
  clear() {
    this.#scene = this.#hovered = null;
    this.#hidden = false;
    this.#places = [];
    this.#layout = new LabelLayout();
    this.#media.style.cursor = "";
    this.#blank();
  }

  /**
   * Shows a scene in place of the one before.
   *
   * @param {Scene | null} scene null for one that is not known yet
   * @param {boolean} hide whether the whole picture is hidden then
   */
  show(scene, hide = false) {
    this.#scene = scene;
    this.#hidden = hide;
    this.redraw();
  }

  /** Draws the scene again, as after a change of the element's size. */
  redraw() {
    const canvas = this.canvas;
    const density = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * density));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = this.#blank();
    const { left, top, wide, high } = this.#area();
    pen.setTransform(density, 0, 0, density, left * density, top * density);
    this.#places = [];
    if (this.#scene) {
      const text = Math.min(Math.max(Math.min(wide, high) * TEXT_SHARE, LEAST_TEXT), MOST_TEXT);
      this.#places = draw(pen, this.#calm(this.#scene, wide), wide, high, text, this.#layout, this.#hovered);
    } else if (this.#hidden) hideAll(pen, this.#media, wide, high);
  }

  /**
   * Returns a scene as it suits a narrow screen: of several people who have numbers, only those marked have all words.
   *
   * @param {Scene} scene
   * @param {number} wide
   */
  #calm(scene, wide) {
    if (wide >= NARROW || scene.faces.length < 2) return scene;
    const marked = (/** @type {number} */ id) => id !== 0 && (id === scene.chosen || id === this.#hovered);
    return { ...scene, faces: scene.faces.map((face) => (face.tag && !marked(face.id) ? { ...face, lines: [] } : face)) };
  }

  /**
   * Returns the face under a point of the window, or whose label is there.
   *
   * @param {{ clientX: number, clientY: number }} point
   */
  at({ clientX, clientY }) {
    const scene = this.#scene;
    if (!scene) return undefined;
    const bounds = this.canvas.getBoundingClientRect();
    const { left, top, scale } = this.#area();
    const [x, y] = [clientX - bounds.left - left, clientY - bounds.top - top];
    const label = this.#places.findIndex((place) => place && covers(place.box, x, y));
    return scene.faces[label] ?? scene.faces.find(({ box }) => covers(box, x / scale, y / scale));
  }

  /** Where the labels are, in pixels of the screen from the picture's upper left corner; null for none. */
  get labels() {
    return this.#places.map((place) => place?.box ?? null);
  }

  /** Marks a face that is pointed at; null for none. @param {number | null} id */
  hover(id) {
    if (id === this.#hovered) return;
    this.#hovered = id;
    this.#media.style.cursor = id ? "pointer" : "";
    if (this.#scene) this.redraw();
  }

  /** @param {KeyboardEvent} event */
  #onKey(event) {
    const ids = (this.#scene?.faces ?? []).map(({ id }) => id).filter(Boolean);
    const step = STEPS[event.key];
    if (event.key === "Escape") this.#choose?.(null);
    if (!step || !ids.length) return;
    event.preventDefault();
    const now = ids.indexOf(this.#scene?.chosen ?? 0);
    const first = step > 0 ? 0 : ids.length - 1;
    this.#choose?.(ids[now < 0 ? first : (now + step + ids.length) % ids.length]);
  }

  /** Returns where the picture lies in the canvas, and how much larger than the scene's it is. */
  #area() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [across, down] = this.#scene?.size ?? sizeOf(this.#media);
    const scale = Math.min(width / across, height / down);
    const [wide, high] = [across * scale, down * scale];
    return { scale, wide, high, left: (width - wide) / 2, top: (height - high) / 2 };
  }

  #blank() {
    const pen = /** @type {CanvasRenderingContext2D} */ (this.canvas.getContext("2d"));
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    return pen;
  }
}

/** @param {Box} box @param {number} x @param {number} y */
function covers([x1, y1, x2, y2], x, y) {
  return x1 <= x && x <= x2 && y1 <= y && y <= y2;
}

/** @param {HTMLVideoElement | HTMLImageElement} media @returns {[number, number]} */
function sizeOf(media) {
  return media instanceof HTMLVideoElement
    ? [media.videoWidth, media.videoHeight]
    : [media.naturalWidth, media.naturalHeight];
}
