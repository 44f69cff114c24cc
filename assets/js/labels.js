// Where labels go so that none hides a face or another label, by the rules of faceinsight/label_layout.py, which
// says more about each; a test holds both to the same answers.
/** @import { Box } from "./types.d.ts" */

const FAR = [0.8, 1.8]; // how far away a label at the end of a line lies, in label heights
const PATIENCE = 15; // calls for which a better place has to be free before a label moves there
const [OUTSIDE, OWN, LED, CORNER] = [0, 1, 2, 3];

/**
 * Where a label lies.
 *
 * @typedef {object} Place
 * @property {number} variant which of the label's sizes it has
 * @property {number} spot which of the places around the box it is
 * @property {Box} box of the label
 * @property {Box | null} leader a line from the label to its box; null where it lies at it
 * @property {number} waited for how many calls a better place has been free
 *
 * A face with a label to be placed.
 *
 * @typedef {object} Labelled
 * @property {Box} box
 * @property {Box} core the eyes-to-mouth area, which no label may touch
 * @property {[number, number][]} sizes of the label: whole, then shorter and shorter
 * @property {Place | null} [before] where the label was in the frame before
 */

/**
 * Finds a place for every label; null where there is none.
 *
 * @param {[number, number]} size of the picture
 * @param {Labelled[]} faces
 * @param {number} gap between a label and its box, and between two labels
 */
export function placeLabels(size, faces, gap) {
  const layout = new Layout(size, faces, gap);
  const order = faces.map((_, n) => n).toSorted((a, b) => area(faces[a].box) - area(faces[b].box) || a - b);
  const largestFirst = order.toReversed();
  for (const n of largestFirst) layout.keep(n);
  const kept = layout.places.map(Boolean);
  // Everybody gets the short form first: the whole one for some must not take the last place of another.
  for (const n of order) if (!layout.places[n]) layout.place(n, faces[n].sizes.length - 1);
  for (const n of largestFirst) {
    if (kept[n]) layout.improve(n);
    else layout.place(n);
  }
  return layout.places;
}

/** Places the labels of frame after frame: each keeps its place for as long as that is free. */
export class LabelLayout {
  /** @type {Map<number, Place>} */
  #places = new Map();

  /**
   * Does what `placeLabels` does, for the next frame.
   *
   * @param {[number, number]} size
   * @param {Labelled[]} faces their `before` is found here
   * @param {number[]} numbers who each of them is; 0 for nobody yet
   * @param {number} gap
   */
  place(size, faces, numbers, gap) {
    const known = faces.map((face, n) => ({ ...face, before: this.#places.get(numbers[n]) }));
    const places = placeLabels(size, known, gap);
    this.#places = new Map();
    places.forEach((place, n) => place && numbers[n] && this.#places.set(numbers[n], place));
    return places;
  }
}

/** The labels that have a place so far. */
class Layout {
  #size;
  #faces;
  #gap;
  /** @type {(Place | null)[]} */
  places;

  /**
   * @param {[number, number]} size
   * @param {Labelled[]} faces
   * @param {number} gap
   */
  constructor(size, faces, gap) {
    this.#size = size;
    this.#faces = faces;
    this.#gap = gap;
    this.places = faces.map(() => null);
  }

  /** Leaves a label where it was, if that is free; a little nearness is forgiven then. @param {number} n */
  keep(n) {
    const { before, sizes } = this.#faces[n];
    if (!before || before.variant >= sizes.length) return;
    const place = this.#firstFree(n, [before.variant], 0, { only: before.spot });
    this.places[n] = place && { ...place, waited: before.waited };
  }

  /**
   * Puts a label at its best free place, in the form `first` or a shorter one; one it has stays the least.
   *
   * @param {number} n
   * @param {number} first
   */
  place(n, first = 0) {
    const { sizes } = this.#faces[n];
    this.places[n] = this.#firstFree(n, range(Math.max(first, 0), sizes.length), this.#gap) ?? this.places[n];
  }

  /** Moves a label to a better place that has been free for long enough. @param {number} n */
  improve(n) {
    const now = this.places[n];
    if (!now) return;
    const better = this.#firstFree(n, range(0, now.variant + 1), this.#gap, { until: now });
    if (!better) this.places[n] = { ...now, waited: 0 };
    else this.places[n] = now.waited < PATIENCE ? { ...now, waited: now.waited + 1 } : better;
  }

  /**
   * Returns the first free place; of all places, of one spot alone, or of those before another place.
   *
   * @param {number} n
   * @param {number[]} variants
   * @param {number} gap
   * @param {{ only?: number, until?: Place }} among
   * @returns {Place | null}
   */
  #firstFree(n, variants, gap, { only, until } = {}) {
    const face = this.#faces[n];
    for (const variant of variants) {
      const [wide, high] = face.sizes[variant];
      if (wide > this.#size[0] || high > this.#size[1]) continue;
      const spots = spotsOf(face.box, wide, high, this.#gap, variant === face.sizes.length - 1);
      const [inTheWay, lines] = this.#obstacles(n, this.#reach(spots, wide, high), gap);
      for (let spot = 0; spot < spots.length; spot += 1) {
        if (until && (variant > until.variant || (variant === until.variant && spot >= until.spot))) return null;
        if (only !== undefined && spot !== only) continue;
        const [kind, x, y] = spots[spot];
        const [left, top] = this.#inside(x, y, wide, high);
        /** @type {Box} */
        const box = [left, top, left + wide, top + high];
        if (inTheWay[kind].some((other) => overlaps(box, other))) continue;
        const leader = kind === LED ? leaderOf(box, face.box) : null;
        if (!leader || !lines.some((other) => crosses(leader, other))) return { variant, spot, box, leader, waited: 0 };
      }
    }
    return null;
  }

  /**
   * Returns the corner of a label at (x, y), moved into the picture where it would leave it.
   *
   * @param {number} x
   * @param {number} y
   * @param {number} wide
   * @param {number} high
   */
  #inside(x, y, wide, high) {
    return [Math.max(Math.min(x, this.#size[0] - wide), 0), Math.max(Math.min(y, this.#size[1] - high), 0)];
  }

  /**
   * Returns a rectangle around all places of a label.
   *
   * @param {Spot[]} spots
   * @param {number} wide
   * @param {number} high
   * @returns {Box}
   */
  #reach(spots, wide, high) {
    const [xs, ys] = [spots.map(([, x]) => x), spots.map(([, , y]) => y)];
    const [x1, y1] = this.#inside(Math.min(...xs), Math.min(...ys), wide, high);
    const [x2, y2] = this.#inside(Math.max(...xs), Math.max(...ys), wide, high);
    return [x1, y1, x2 + wide, y2 + high];
  }

  /**
   * Returns what a label must not lie on, by the kind of its place, and what its line must not cross.
   *
   * @param {number} n
   * @param {Box} reach
   * @param {number} gap
   * @returns {[Box[][], Box[]]}
   */
  #obstacles(n, reach, gap) {
    const own = this.#faces[n];
    const others = this.#faces.filter((f, m) => m !== n && (overlaps(reach, f.box) || overlaps(reach, f.core)));
    const labels = this.places
      .filter((place, m) => place && m !== n)
      .map((place) => grown(/** @type {Place} */ (place).box, gap))
      .filter((label) => overlaps(reach, label));
    const [cores, boxes] = [others.map(({ core }) => core), others.map(({ box }) => box)];
    const clear = [own.box, own.core, ...labels, ...boxes, ...cores];
    const inTheWay = [];
    inTheWay[OUTSIDE] = inTheWay[LED] = clear;
    inTheWay[OWN] = clear.slice(1);
    inTheWay[CORNER] = [own.core, ...labels, ...cores];
    return [inTheWay, [...labels, ...cores]];
  }
}

/** @typedef {[number, number, number]} Spot the kind of a place, and its upper left corner */

/**
 * Returns the places of a label around its box, the best one first.
 *
 * @param {Box} box
 * @param {number} wide
 * @param {number} high
 * @param {number} gap
 * @param {boolean} short
 * @returns {Spot[]}
 */
function spotsOf([x1, y1, x2, y2], wide, high, gap, short) {
  const [above, below, left, right] = [y1 - gap - high, y2 + gap, x1 - gap - wide, x2 + gap];
  const [end, foot, middle] = [x2 - wide, y2 - high, (x1 + x2 - wide) / 2];
  /** @type {Spot[]} */
  const spots = [
    [OUTSIDE, x1, above],
    [OUTSIDE, x1, below],
    [OUTSIDE, right, y1],
    [OUTSIDE, left, y1],
    [OUTSIDE, end, above],
    [OUTSIDE, end, below],
    [OUTSIDE, right, foot],
    [OUTSIDE, left, foot],
    [OUTSIDE, middle, above],
    [OUTSIDE, middle, below],
    [OWN, x1, foot],
    [OWN, x1, y1],
    [OWN, end, foot],
    [OWN, end, y1],
  ];
  for (const far of FAR) {
    const away = far * high;
    spots.push(
      [LED, x1, above - away],
      [LED, x1, below + away],
      [LED, right + away, y1],
      [LED, left - away, y1],
      [LED, right + away, above - away],
      [LED, left - away, above - away],
      [LED, right + away, below + away],
      [LED, left - away, below + away],
    );
  }
  if (short) spots.push([CORNER, x1, foot], [CORNER, x1, y1], [CORNER, end, foot], [CORNER, end, y1]);
  return spots;
}

/**
 * Whether two rectangles share more than a border.
 *
 * @param {Box} a
 * @param {Box} b
 */
export function overlaps(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

/**
 * Whether a line meets a rectangle (Liang and Barsky's clipping).
 *
 * @param {Box} line
 * @param {Box} box
 */
function crosses([x, y, toX, toY], box) {
  const [dx, dy] = [toX - x, toY - y];
  let [enter, leave] = [0, 1];
  for (const [step, room] of [
    [-dx, x - box[0]],
    [dx, box[2] - x],
    [-dy, y - box[1]],
    [dy, box[3] - y],
  ]) {
    if (step === 0) {
      if (room < 0) return false;
    } else if (step < 0) enter = Math.max(enter, room / step);
    else leave = Math.min(leave, room / step);
  }
  return enter < leave;
}

/**
 * Returns a line from the border of a label to the nearest point of its box.
 *
 * @param {Box} label
 * @param {Box} box
 * @returns {Box}
 */
function leaderOf(label, box) {
  const [x, toX] = nearest(label[0], label[2], box[0], box[2]);
  const [y, toY] = nearest(label[1], label[3], box[1], box[3]);
  return [x, y, toX, toY];
}

/**
 * Returns the points of two ranges that are nearest to each other; the middle of what they share.
 *
 * @param {number} a1
 * @param {number} a2
 * @param {number} b1
 * @param {number} b2
 */
function nearest(a1, a2, b1, b2) {
  if (a2 < b1) return [a2, b1];
  if (b2 < a1) return [a1, b2];
  const middle = (Math.max(a1, b1) + Math.min(a2, b2)) / 2;
  return [middle, middle];
}

/** @param {Box} box @param {number} more @returns {Box} */
function grown([x1, y1, x2, y2], more) {
  return [x1 - more, y1 - more, x2 + more, y2 + more];
}

/** @param {Box} box */
function area([x1, y1, x2, y2]) {
  return (x2 - x1) * (y2 - y1);
}

/** @param {number} first @param {number} end */
function range(first, end) {
  return Array.from({ length: Math.max(end - first, 0) }, (_, n) => first + n);
}
