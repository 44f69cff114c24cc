// Boxes, labels and blur over a picture or a video, as faceinsight/drawing.py draws them into one.
/** @import { Box, Picture, Scene } from "./types.d.ts" */

const INK = "rgb(16 20 28)";
const BLUR_MARGIN = 0.1; // blurred beyond the box, as a share of the face's longest side

/** A canvas that lies over a picture or video of the page and is drawn upon. */
export class Overlay {
  #media;
  canvas;
  /** @type {Scene | null} */
  #scene = null;

  /**
   * Lays a canvas over an element, which its style has to stretch over the same place.
   *
   * @param {HTMLVideoElement | HTMLImageElement} media shown whole in its element, as of "object-fit: contain"
   * @param {string} id of the canvas
   */
  constructor(media, id) {
    this.#media = media;
    this.canvas = Object.assign(document.createElement("canvas"), { id });
    media.after(this.canvas);
  }

  /** Shows nothing. */
  clear() {
    this.#scene = null;
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
    const canvas = this.canvas;
    const density = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.round(side * density));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const pen = this.#blank();
    const [wide, high] = sizeOf(this.#media);
    const { scale, left, top } = fit([wide, high], width, height);
    pen.setTransform(scale, 0, 0, scale, left, top);
    if (scene) draw(pen, scene, wide, high);
    else if (hide) hideAll(pen, this.#media, wide, high);
  }

  #blank() {
    const pen = penOf(this.canvas);
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
    return pen;
  }

  /**
   * Returns the face under a point of the window.
   *
   * @param {{ clientX: number, clientY: number }} point
   */
  at({ clientX, clientY }) {
    if (!this.#scene) return undefined;
    const area = this.canvas.getBoundingClientRect();
    const { scale, left, top } = fit(this.#scene.size, area.width, area.height);
    const [x, y] = [(clientX - area.left - left) / scale, (clientY - area.top - top) / scale];
    return this.#scene.faces.find(({ box: [x1, y1, x2, y2] }) => x1 <= x && x <= x2 && y1 <= y && y <= y2);
  }
}

/**
 * Draws a scene.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {Scene} scene
 * @param {number} width of the picture below, in the pen's pixels
 * @param {number} height
 */
export function draw(pen, scene, width, height) {
  const scale = width / scene.size[0];
  const text = Math.min(Math.max(Math.min(width, height) / 28, 11), 48);
  const line = Math.max(Math.round(text / 8), 1);
  const faces = scene.faces.map((face) => ({ face, box: scaled(face.box, scale) }));
  if (scene.still) pen.drawImage(scene.still, 0, 0, width, height);
  if (scene.blur && scene.still) for (const { face } of faces) hideFace(pen, scene.still, scene.size, face.box, scale);
  for (const { face, box: [x1, y1, x2, y2] } of faces) {
    pen.lineWidth = line;
    pen.strokeStyle = face.color;
    pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
  }
  pen.font = `${text}px system-ui, sans-serif`;
  pen.textBaseline = "top";
  const pad = text / 4;
  const row = text * 1.2;
  for (const { face, box } of faces.toReversed()) {
    if (!face.lines.length) continue;
    const wide = Math.max(...face.lines.map((words) => pen.measureText(words).width)) + 2 * pad;
    const high = row * face.lines.length + pad;
    const above = box[1] - high - line / 2;
    const top = Math.min(Math.max(above < 0 ? box[1] + line : above, 0), height - high);
    const left = Math.min(Math.max(box[0] - line / 2, 0), width - wide);
    pen.fillStyle = face.color;
    pen.fillRect(left, top, wide, high);
    pen.fillStyle = INK;
    face.lines.forEach((words, n) => pen.fillText(words, left + pad, top + pad + n * row));
  }
}

/**
 * Draws a picture so that nobody in it can be known.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {Picture} picture
 * @param {number} width
 * @param {number} height
 */
export function hideAll(pen, picture, width, height) {
  pixelate(pen, picture, [0, 0, width, height], [0, 0, width, height]);
}

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {Picture} still
 * @param {[number, number]} size
 * @param {Box} box
 * @param {number} scale
 */
function hideFace(pen, still, [wide, high], [x1, y1, x2, y2], scale) {
  const more = BLUR_MARGIN * Math.max(x2 - x1, y2 - y1);
  const [left, top] = [Math.max(x1 - more, 0), Math.max(y1 - more, 0)];
  /** @type {Box} */
  const area = [left, top, Math.min(x2 + more, wide) - left, Math.min(y2 + more, high) - top];
  pixelate(pen, still, area, scaled(area, scale));
}

const mosaic = Object.assign(document.createElement("canvas"), { width: 6, height: 6 });

/**
 * Draws a part of a picture as a mosaic of six cells across, then smoothed: what it averages away is gone.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {Picture} source
 * @param {Box} from left, top, width and height
 * @param {Box} to the same
 */
function pixelate(pen, source, from, to) {
  if (from[2] < 1 || from[3] < 1) return;
  const small = penOf(mosaic);
  small.imageSmoothingQuality = "high";
  small.drawImage(source, ...from, 0, 0, 6, 6);
  pen.drawImage(mosaic, 0, 0, 6, 6, ...to);
}

/**
 * Returns where a picture lies that is shown whole in a place.
 *
 * @param {[number, number]} size of the picture
 * @param {number} width of the place
 * @param {number} height
 */
function fit([wide, high], width, height) {
  const scale = Math.min(width / wide, height / high);
  return { scale, left: (width - wide * scale) / 2, top: (height - high * scale) / 2 };
}

/** @param {HTMLVideoElement | HTMLImageElement} media @returns {[number, number]} */
function sizeOf(media) {
  return media instanceof HTMLVideoElement
    ? [media.videoWidth, media.videoHeight]
    : [media.naturalWidth, media.naturalHeight];
}

/** @param {Box} box @param {number} scale */
function scaled(box, scale) {
  return /** @type {Box} */ (box.map((side) => side * scale));
}

/** @param {HTMLCanvasElement} canvas */
function penOf(canvas) {
  return /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
}
