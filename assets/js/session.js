// What is left of a camera session until the next one: its people, and the snapshots taken. All of it in the page.
/** @import { Card, LiveFace, Shares } from "./types.d.ts" */
import { hideAll } from "./drawing.js";
import { save } from "./files.js";

const LEAST_S = 0.3; // on screen, to count as somebody
const GAP_S = 1; // between two frames with somebody: who is away for longer was not there meanwhile
const MAX_PEOPLE = 100;
const MAX_SNAPSHOTS = 24;
const CROP = 112; // pixels of a face's side on its card
const THUMBNAIL = 96;

/**
 * @typedef {object} Person
 * @property {LiveFace} face as last seen
 * @property {number} at when, in milliseconds
 * @property {number} seconds on screen
 * @property {Map<string, number>} sums of the shares of the emotions
 * @property {number} count of the frames that have them
 * @property {HTMLCanvasElement} crop
 * @property {boolean} blurred whether the crop is
 */

export class Session {
  /** @type {Map<number, Person>} */
  #people = new Map();

  clear() {
    this.#people.clear();
  }

  /**
   * Takes in the faces of a frame.
   *
   * @param {LiveFace[]} faces
   * @param {number} at when it was taken, in milliseconds
   */
  add(faces, at) {
    for (const face of faces) {
      if (!face.id) continue;
      const person = this.#people.get(face.id) ?? newPerson(face, at);
      person.seconds += Math.min((at - person.at) / 1000, GAP_S);
      Object.assign(person, { face, at, count: person.count + (face.emotion ? 1 : 0) });
      for (const [name, share] of face.emotion ?? []) person.sums.set(name, (person.sums.get(name) ?? 0) + share);
      this.#people.set(face.id, person);
    }
    if (this.#people.size > MAX_PEOPLE) this.#dropOne(new Set(faces.map(({ id }) => id)));
  }

  /** @param {Set<number>} present who is in the picture, and stays */
  #dropOne(present) {
    const away = [...this.#people].filter(([id]) => !present.has(id));
    const least = away.toSorted(([, a], [, b]) => a.seconds - b.seconds)[0];
    if (least) this.#people.delete(least[0]);
  }

  /**
   * Notes what somebody looks like.
   *
   * @param {number} id
   * @param {(canvas: HTMLCanvasElement) => void} draw
   * @param {boolean} blurred whether it draws a blurred face
   */
  look(id, draw, blurred) {
    const person = this.#people.get(id);
    if (!person) return;
    draw(person.crop);
    person.blurred = blurred;
  }

  /**
   * Shows what somebody looked like last.
   *
   * @param {HTMLCanvasElement} canvas
   * @param {number} id
   * @param {boolean} blur
   */
  crop(canvas, id, blur) {
    const person = this.#people.get(id);
    const pen = canvas.getContext("2d");
    if (!person || !pen) return;
    if (blur && !person.blurred) hideAll(pen, person.crop, canvas.width, canvas.height);
    else pen.drawImage(person.crop, 0, 0, canvas.width, canvas.height);
  }

  /** Everybody but those seen for a moment, with their emotions over the whole time. */
  get people() {
    return [...this.#people.values()].filter(({ seconds }) => seconds >= LEAST_S).map(cardOf);
  }

  /** How many were seen for a moment only. */
  get brief() {
    return this.#people.size - this.people.length;
  }
}

/** @param {LiveFace} face @param {number} at @returns {Person} */
function newPerson(face, at) {
  const crop = Object.assign(document.createElement("canvas"), { width: CROP, height: CROP });
  return { face, at, seconds: 0, sums: new Map(), count: 0, crop, blurred: false };
}

/** @param {Person} person @returns {Card & { seconds: number }} */
function cardOf({ face: { id, color, age, range, gender }, seconds, sums, count }) {
  return { id, color, age, range, gender, seconds, emotion: count ? mean(sums, count) : null };
}

/** @param {Map<string, number>} sums @param {number} count @returns {Shares} */
function mean(sums, count) {
  return [...sums].map(([name, sum]) => [name, sum / count, `${Math.round((100 * sum) / count)}%`]);
}

/** The snapshots of a session, each of which is saved by a click. */
export class Snapshots {
  #strip;

  /** @param {HTMLElement} strip */
  constructor(strip) {
    this.#strip = strip;
  }

  clear() {
    this.#strip.replaceChildren();
    this.#strip.hidden = true;
  }

  /** @param {HTMLCanvasElement} picture */
  add(picture) {
    const taken = new Date();
    const button = document.createElement("button");
    const time = taken.toTimeString().slice(0, 8);
    button.title = "Save this snapshot";
    button.setAttribute("aria-label", `Save the snapshot of ${time}`);
    const small = Object.assign(document.createElement("canvas"), { width: THUMBNAIL, height: THUMBNAIL });
    const scale = THUMBNAIL / Math.min(picture.width, picture.height);
    const [wide, high] = [picture.width * scale, picture.height * scale];
    small.getContext("2d")?.drawImage(picture, (THUMBNAIL - wide) / 2, (THUMBNAIL - high) / 2, wide, high);
    button.append(small, Object.assign(document.createElement("span"), { textContent: time }));
    picture.toBlob(
      (content) => {
        const name = `webcam-faces-${time.replaceAll(":", "")}.jpg`;
        button.addEventListener("click", () => content && save(content, name));
        this.#strip.prepend(button);
        while (this.#strip.children.length > MAX_SNAPSHOTS) this.#strip.lastChild?.remove();
        this.#strip.hidden = false;
      },
      "image/jpeg",
      0.92,
    );
  }
}
