// Draws faces and labels as faceinsight/drawing.py does, with a canvas's pen.
/** @import { Box, Face, Picture, Scene } from "./types.d.ts" */
/** @import { Place } from "./labels.js" */
import { LabelLayout } from "./labels.js";

const INK = "rgb(16 20 28)";
const PLATE = "rgb(16 20 28 / 0.78)";
const PAPER = "rgb(255 255 255)";
const FONT = "system-ui, sans-serif";
const CORNER = 0.22; // how much of each side of a box its corner marks take
const [PAD, ROW, STEP] = [0.25, 1.2, 0.5]; // of a text height: around text, a line, and the steps in which labels widen
const CROP_MARGIN = 0.25; // around a face on its card, as a share of its box's longer side
const BLUR_MARGIN = 0.1; // blurred beyond the box, as a share of the face's longest side

/**
 * Returns the height of label text that suits a picture that is drawn into, not over.
 *
 * @param {number} width
 * @param {number} height
 */
function textHeight(width, height) {
  return Math.min(Math.max(Math.floor(Math.min(width, height) / 36), 11), 40);
}

/**
 * Draws a scene, and returns where the faces' labels are.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {Scene} scene
 * @param {number} width of the picture below, in the pen's pixels
 * @param {number} height
 * @param {number} [text] height of text in the same pixels; where it is left out, as suits a picture to keep
 * @param {LabelLayout} [layout] where labels were in the frame before
 * @param {number | null} [hovered] the number of a face that is pointed at
 */
export function draw(pen, scene, width, height, text = textHeight(width, height), layout = new LabelLayout(), hovered = null) {
  const scale = width / scene.size[0];
  const line = Math.max(Math.round(text / 8), 1);
  if (scene.still) pen.drawImage(scene.still, 0, 0, width, height);
  if (scene.blur && scene.still) for (const face of scene.faces) hideFace(pen, scene.still, scene.size, face.box, scale);
  if (scene.bare) return [];
  const faces = scene.faces.map((face) => ({ ...face, box: scaled(face.box, scale), core: scaled(face.core, scale) }));
  for (const face of faces) {
    const whole = face.id !== 0 && (face.id === scene.chosen || face.id === hovered);
    outlined(pen, whole ? outline(face.box) : corners(face.box), face.color, line);
  }
  pen.font = `${text}px ${FONT}`;
  pen.textBaseline = "middle";
  const labelled = faces.map((face) => ({ box: face.box, core: face.core, sizes: sizesOf(pen, face, text) }));
  const numbers = faces.map(({ id }) => id);
  const places = layout.place([width, height], labelled, numbers, line + 1);
  places.forEach((place, n) => {
    if (!place?.leader) return;
    const path = new Path2D();
    path.moveTo(place.leader[0], place.leader[1]);
    path.lineTo(place.leader[2], place.leader[3]);
    outlined(pen, path, faces[n].color, line);
  });
  places.forEach((place, n) => place && write(pen, place, faces[n], text));
  return places;
}

/**
 * Returns the sizes of a label as a whole and of its tag alone; what there is of it.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {Face} face
 * @param {number} text
 */
function sizesOf(pen, face, text) {
  const [pad, row] = paddings(text);
  /** @type {[number, number][]} */
  const sizes = [];
  const tag = tagWidth(pen, face, pad);
  if (face.lines.length) {
    const wide = Math.max(...face.lines.map((words) => pen.measureText(words).width)) + 2 * pad;
    const step = Math.max(Math.round(text * STEP), 1);
    sizes.push([tag + Math.ceil(wide / step) * step, row * face.lines.length + pad]);
  }
  if (face.tag) sizes.push([tag, row + pad]);
  return sizes;
}

/** @param {number} text */
function paddings(text) {
  return [Math.max(Math.round(text * PAD), 2), Math.round(text * ROW)];
}

/**
 * Returns the width of the coloured part of a label, which has the number; a bar where there is none.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {Face} face
 * @param {number} pad
 */
function tagWidth(pen, face, pad) {
  return face.tag ? Math.ceil(pen.measureText(face.tag).width) + 2 * pad : pad;
}

/**
 * Draws a label: the number on the face's colour, the rest on a dark plate that lets light through.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {Place} place
 * @param {Face} face
 * @param {number} text
 */
function write(pen, { box: [left, top, right, bottom] }, face, text) {
  const [pad, row] = paddings(text);
  const tag = tagWidth(pen, face, pad);
  const [wide, high] = [right - left, bottom - top];
  pen.fillStyle = face.color;
  pen.fillRect(left, top, tag, high);
  pen.fillStyle = INK;
  pen.fillText(face.tag, left + pad, top + high / 2);
  if (wide <= tag) return;
  pen.fillStyle = PLATE;
  pen.fillRect(left + tag, top, wide - tag, high);
  pen.fillStyle = PAPER;
  face.lines.forEach((words, n) => pen.fillText(words, left + tag + pad, top + pad / 2 + (n + 0.5) * row));
}

/**
 * Draws a line on a dark one that shows on bright pictures.
 *
 * @param {CanvasRenderingContext2D} pen
 * @param {Path2D} path
 * @param {string} color
 * @param {number} line
 */
function outlined(pen, path, color, line) {
  pen.lineJoin = pen.lineCap = "round";
  for (const [style, width] of /** @type {[string, number][]} */ ([
    [INK, line + 2],
    [color, line],
  ])) {
    pen.strokeStyle = style;
    pen.lineWidth = width;
    pen.stroke(path);
  }
}

/** @param {Box} box */
function outline([x1, y1, x2, y2]) {
  const path = new Path2D();
  path.rect(x1, y1, x2 - x1, y2 - y1);
  return path;
}

/** @param {Box} box */
function corners([x1, y1, x2, y2]) {
  const path = new Path2D();
  const [across, down] = [(x2 - x1) * CORNER, (y2 - y1) * CORNER];
  for (const [x, dx] of [
    [x1, across],
    [x2, -across],
  ]) {
    for (const [y, dy] of [
      [y1, down],
      [y2, -down],
    ]) {
      path.moveTo(x, y + dy);
      path.lineTo(x, y);
      path.lineTo(x + dx, y);
    }
  }
  return path;
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
  const small = /** @type {CanvasRenderingContext2D} */ (mosaic.getContext("2d"));
  small.imageSmoothingQuality = "high";
  small.drawImage(source, ...from, 0, 0, 6, 6);
  pen.drawImage(mosaic, 0, 0, 6, 6, ...to);
}

/**
 * Draws a face with something around it, as large as the canvas.
 *
 * @param {HTMLCanvasElement} canvas a square
 * @param {Scene} scene
 * @param {Picture} image the scene's
 * @param {Box} box
 */
export function drawCrop(canvas, scene, image, [x1, y1, x2, y2]) {
  const pen = canvas.getContext("2d");
  if (!pen) return;
  const side = Math.max(x2 - x1, y2 - y1) * (1 + 2 * CROP_MARGIN);
  const scale = canvas.width / side;
  pen.setTransform(1, 0, 0, 1, 0, 0);
  pen.clearRect(0, 0, canvas.width, canvas.height);
  pen.setTransform(scale, 0, 0, scale, (side / 2 - (x1 + x2) / 2) * scale, (side / 2 - (y1 + y2) / 2) * scale);
  const faces = scene.blur ? scene.faces : [];
  draw(pen, { ...scene, faces, still: image, bare: true }, scene.size[0], scene.size[1]);
}

/** @param {Box} box @param {number} scale */
export function scaled(box, scale) {
  return /** @type {Box} */ (box.map((side) => side * scale));
}
