// Boxes between two answers: they run on with the picture that is on show.
/** @import { Box, LiveFace } from "./types.d.ts" */

const AHEAD_MS = 120; // how far boxes run ahead of the last answer at most

/** @typedef {{ face: LiveFace, speed: Box, shown: Box }} Person its speed in pixels a second, and where it is drawn */

/** Returns a face where it is drawn. @param {Person} person */
function placed({ face, shown }) {
  const [left, top, right, bottom] = face.box;
  const [wider, higher] = [(shown[2] - shown[0]) / (right - left), (shown[3] - shown[1]) / (bottom - top)];
  const core = each(face.core, (side, n) =>
    n % 2 ? shown[1] + (side - top) * higher : shown[0] + (side - left) * wider,
  );
  return { ...face, box: shown, core };
}

export class Motion {
  /** @type {Map<number | symbol, Person>} */
  #people = new Map();

  /** The faces where they are drawn. */
  get faces() {
    return [...this.#people.values()].map(placed);
  }

  clear() {
    this.#people.clear();
  }

  /**
   * Takes in the faces of the next analysed frame.
   *
   * @param {LiveFace[]} faces
   * @param {number} seconds since the one before; 0 where there is none
   */
  take(faces, seconds) {
    const before = this.#people;
    this.#people = new Map();
    for (const face of faces) {
      const key = face.id || Symbol("nobody yet");
      const old = before.get(key);
      const speed = each(face.box, (side, n) =>
        old && seconds > 0 ? 0.5 * old.speed[n] + 0.5 * ((side - old.face.box[n]) / seconds) : 0,
      );
      this.#people.set(key, { face, speed, shown: old?.shown ?? face.box });
    }
  }

  /**
   * Moves every box on to the picture that is on show: along its speed, softly.
   *
   * @param {number} ms since the analysed frame
   */
  move(ms) {
    const ahead = Math.min(Math.max(ms, 0), AHEAD_MS) / 1000;
    for (const person of this.#people.values()) {
      const width = person.face.box[2] - person.face.box[0];
      // A face at rest has only the noise of the detector for a speed.
      const sure = Math.min(1, Math.hypot(...person.speed) / width);
      const aim = each(person.face.box, (side, n) => side + person.speed[n] * ahead * sure);
      person.shown = each(person.shown, (side, n) => side + 0.7 * (aim[n] - side));
    }
  }
}

/**
 * @param {Box} box
 * @param {(side: number, index: number) => number} change
 */
function each(box, change) {
  return /** @type {Box} */ (box.map(change));
}
