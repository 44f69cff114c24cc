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
  #dropped = 0;

  clear() {
    this.#people.clear();
    this.#dropped = 0;
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
    if (least && this.#people.delete(least[0])) this.#dropped += 1;
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

  /** What is not shown of the session, in words. */
  get left() {
    const words = [];
    if (this.brief) words.push(`Seen for a moment only, and left out: ${this.brief}.`);
    if (this.#dropped) words.push(`More than ${MAX_PEOPLE} people: those seen for the shortest time were left out (${this.#dropped}).`);
    return words.join(" ");
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

/**
 * @typedef {object} Snapshot
 * @property {HTMLButtonElement} button
 * @property {HTMLCanvasElement} small
 * @property {HTMLCanvasElement} shown
 * @property {boolean} hidden whether no face can be known in it
 * @property {boolean} saved
 */

/** The snapshots of a session, each of which is saved by a click. */
export class Snapshots {
  #strip;
  #words;
  /** The newest first. @type {Snapshot[]} */
  #all = [];
  #dropped = 0;
  #blur = false;

  /**
   * @param {HTMLElement} strip
   * @param {HTMLElement} words where to say what becomes of them
   */
  constructor(strip, words) {
    this.#strip = strip;
    this.#words = words;
    window.addEventListener("beforeunload", (event) => this.unsaved && event.preventDefault());
  }

  /** How many were not saved yet. */
  get unsaved() {
    return this.#all.filter(({ saved }) => !saved).length;
  }

  clear() {
    [this.#all, this.#dropped] = [[], 0];
    this.#show();
  }

  /** Hides those with faces that can be known, or shows them again. @param {boolean} on */
  blur(on) {
    this.#blur = on;
    this.#show();
  }

  /**
   * @param {HTMLCanvasElement} picture
   * @param {boolean} hidden whether its faces are blurred
   */
  add(picture, hidden) {
    const time = new Date().toTimeString().slice(0, 8);
    const button = document.createElement("button");
    button.title = "Save this snapshot";
    button.setAttribute("aria-label", `Save the snapshot of ${time}`);
    const [small, shown] = [thumbnail(), thumbnail()];
    const scale = THUMBNAIL / Math.min(picture.width, picture.height);
    const [wide, high] = [picture.width * scale, picture.height * scale];
    small.getContext("2d")?.drawImage(picture, (THUMBNAIL - wide) / 2, (THUMBNAIL - high) / 2, wide, high);
    button.append(shown, Object.assign(document.createElement("span"), { textContent: time }));
    picture.toBlob(
      (content) => {
        if (!content) return;
        const snapshot = { button, small, shown, hidden, saved: false };
        button.addEventListener("click", () => {
          save(content, `webcam-faces-${time.replaceAll(":", "")}.jpg`);
          snapshot.saved = true;
          this.#show();
        });
        this.#all.unshift(snapshot);
        if (this.#all.length > MAX_SNAPSHOTS && !this.#all.pop()?.saved) this.#dropped += 1;
        this.#show();
      },
      "image/jpeg",
      0.92,
    );
  }

  #show() {
    const all = this.#all;
    this.#strip.replaceChildren(...all.map(({ button }) => button));
    this.#strip.hidden = !all.length;
    for (const { small, shown, hidden } of all) {
      const pen = shown.getContext("2d");
      if (this.#blur && !hidden && pen) hideAll(pen, small, THUMBNAIL, THUMBNAIL);
      else pen?.drawImage(small, 0, 0);
    }
    const words = [];
    if (this.unsaved) words.push(`${count(this.unsaved)} not saved yet: a click saves one.`);
    if (this.#dropped) words.push(`Only the last ${MAX_SNAPSHOTS} are kept: ${count(this.#dropped)} went unsaved.`);
    if (this.#blur && all.some(({ hidden }) => !hidden)) words.push("Those taken without blur are saved as they were taken.");
    this.#words.textContent = words.join(" ");
  }
}

/** @param {number} n */
const count = (n) => `${n} ${n === 1 ? "snapshot" : "snapshots"}`;

function thumbnail() {
  return Object.assign(document.createElement("canvas"), { width: THUMBNAIL, height: THUMBNAIL });
}
