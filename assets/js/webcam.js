// The Webcam tab: labels over the visitor's own camera picture, and what is read beside it.
/** @import { Answer, LiveFace, Picture, Scene } from "./types.d.ts" */
import { Camera } from "./camera.js";
import { Figures } from "./figures.js";
import { save } from "./files.js";
import { Motion } from "./motion.js";
import { draw, hideAll } from "./drawing.js";
import { Overlay } from "./overlay.js";
import { Recording } from "./recording.js";
import { FrameStream } from "./stream.js";
import { showBars, Timeline } from "./timeline.js";

const MAX_SIDE = 640; // of the frames that are sent
const QUALITY = 0.8;
const STALE_MS = 2000; // labels that old are not shown
const READ_MS = 500; // between two updates of what is read

/**
 * @typedef {object} Server the functions of ui/webcam_tab.py
 * @property {(data: object) => Promise<Answer>} live_frame
 * @property {import("./recording.js").Fetch} live_record
 *
 * @typedef {object} Options
 * @property {Record<string, string>} colors of the emotions
 * @property {string} other of an emotion without one
 *
 * @typedef {Answer & { takenAt: number, still?: Picture }} Shown an answer, when its frame was taken, and the frame
 */

/** @returns {any[] | undefined} the values of the side panel, in the order of `Settings` of ui/parts.py */
const settings = () => /** @type {any} */ (window).faceInsightSettings;
const blurred = () => Boolean(settings()?.[4]);

class Webcam {
  #element;
  #hint;
  #camera;
  #stream;
  #recording;
  #timeline;
  /** @type {(emotion: string) => string} */
  #colorOf;
  #motion = new Motion();
  /** @type {Overlay | null} */
  #overlay = null;
  /** @type {Shown | null} */
  #answer = null;
  /** @type {number | null} */
  #chosen = null;
  #live = false;
  #shownAt = 0;
  #readAt = 0;
  #painted = new Figures();
  #updates = new Figures();

  /**
   * @param {HTMLElement} element
   * @param {Server} server
   * @param {Options} options
   */
  constructor(element, server, { colors, other }) {
    this.#element = element;
    this.#hint = this.#part("notice").innerHTML;
    this.#colorOf = (emotion) => colors[emotion] ?? other;
    this.#stream = new FrameStream(server.live_frame);
    const box = /** @type {HTMLInputElement} */ (this.#part("record"));
    this.#recording = new Recording(box, this.#part("rows"), server.live_record);
    this.#timeline = new Timeline(/** @type {HTMLCanvasElement} */ (this.#part("timeline")), this.#colorOf);
    this.#part("snapshot").addEventListener("click", () => this.#snapshot());
    this.#camera = new Camera({
      found: (video) => {
        this.#overlay?.canvas.remove();
        this.#overlay = new Overlay(video, { id: "webcam-overlay", choose: (id) => this.#choose(id) });
      },
      frame: (now, takenAt, mediaTime) => this.#onFrame(now, takenAt, mediaTime),
      stopped: () => this.#end(),
    });
  }

  /** @param {string} name */
  #part(name) {
    return /** @type {HTMLElement} */ (this.#element.querySelector(`#webcam-${name}`));
  }

  #enable(/** @type {boolean} */ enabled) {
    /** @type {HTMLButtonElement} */ (this.#part("snapshot")).disabled = !enabled;
  }

  #begin() {
    this.#live = true;
    this.#stream.begin();
    this.#shownAt = this.#readAt = 0;
    this.#answer = this.#chosen = null;
    this.#motion.clear();
    this.#timeline.clear();
    [this.#painted, this.#updates] = [new Figures(), new Figures()];
    this.#enable(true);
    this.#part("notice").textContent = "Starting…";
  }

  #end() {
    if (!this.#live) return;
    this.#live = false;
    this.#stream.begin();
    this.#answer = null;
    this.#overlay?.clear();
    this.#enable(false);
    this.#part("figures").hidden = true;
    this.#part("notice").innerHTML = this.#hint;
    this.#part("bars").replaceChildren();
    this.#part("without").textContent = "";
    this.#part("mood").hidden = false;
    this.#part("who").textContent = "Emotion";
    this.#timeline.clear();
    tableBody().replaceChildren();
  }

  /**
   * @param {number} now
   * @param {number} takenAt
   * @param {number | undefined} mediaTime
   */
  #onFrame(now, takenAt, mediaTime) {
    if (!settings()) return;
    if (!this.#live) this.#begin();
    this.#shownAt = takenAt;
    if (this.#stream.ready(now)) this.#send(takenAt, mediaTime);
    if (this.#paint(now)) this.#painted.add(now);
    if (now >= this.#readAt) {
      this.#readAt = now + READ_MS;
      this.#read(now);
    }
  }

  /**
   * @param {number} takenAt
   * @param {number | undefined} mediaTime
   */
  async #send(takenAt, mediaTime) {
    const frame = this.#camera.grab(MAX_SIDE);
    const picture = frame.toDataURL("image/jpeg", QUALITY).split(",")[1];
    const still = blurred() ? copy(frame) : undefined;
    const record = this.#recording.number;
    const result = await this.#stream.send(takenAt, { picture, settings: settings(), record });
    if (!result) return;
    if ("problem" in result) {
      this.#answer = null;
      // To wait in line is no mishap.
      this.#part("notice").textContent = result.line ? result.problem : `⚠️ ${result.problem}`;
      return;
    }
    this.#recording.take(result, record);
    this.#take({ ...result, takenAt, still });
    const { run } = this.#stream;
    requestAnimationFrame((now) => {
      if (run !== this.#stream.run) return;
      this.#paint(now);
      const at = performance.now();
      this.#updates.add(at, at - takenAt);
      this.#element.dispatchEvent(new CustomEvent("labels", { detail: { at, takenAt, mediaTime } }));
    });
  }

  /** @param {Shown} answer */
  #take(answer) {
    this.#motion.take(answer.faces, this.#answer ? (answer.takenAt - this.#answer.takenAt) / 1000 : 0);
    this.#timeline.add(answer.faces, answer.takenAt);
    this.#answer = answer;
  }

  /** Draws the labels where the faces are by now; returns whether there are any that are fresh. @param {number} now */
  #paint(now) {
    const takenAt = this.#answer?.takenAt ?? -Infinity;
    const fresh = now - takenAt < STALE_MS;
    if (fresh) this.#motion.move(this.#shownAt - takenAt);
    this.#overlay?.show(fresh ? this.#scene() : null, blurred());
    return fresh;
  }

  /** Returns what is to be drawn; null where that is not known yet. @returns {Scene | null} */
  #scene() {
    if (!this.#answer) return null;
    const { size, still, faces } = this.#answer;
    const chosen = this.#chosen;
    if (!blurred()) return { size, chosen, blur: false, faces: this.#motion.faces };
    // Blurred faces are those of the very frame that was analysed: over the live picture they would lag behind.
    return still ? { size, chosen, blur: true, faces, still } : null;
  }

  /** @param {number | null} id */
  #choose(id) {
    this.#chosen = id;
    this.#readAt = 0;
  }

  /** Returns the chosen person, else the largest face. @returns {LiveFace | undefined} */
  #focus() {
    const faces = this.#answer?.faces ?? [];
    return faces.find((face) => face.id && face.id === this.#chosen) ?? faces.toSorted((a, b) => area(b) - area(a))[0];
  }

  /** Shows what is read rather than looked at. @param {number} now */
  #read(now) {
    const answer = this.#answer;
    if (!answer) return;
    const count = answer.faces.length;
    this.#part("notice").innerHTML = `<strong>${count === 1 ? "1 face" : `${count} faces`}</strong>`;
    this.#part("fps").textContent = (blurred() ? this.#updates : this.#painted).rate(now);
    this.#part("updates").textContent = this.#updates.rate(now);
    this.#part("latency").textContent = this.#updates.median(now);
    this.#part("figures").hidden = false;
    this.#recording.show(answer);
    tableBody().replaceChildren(...answer.faces.map(({ cells }) => rowOf(cells)));
    this.#part("without").textContent = answer.without;
    this.#part("mood").hidden = Boolean(answer.without);
    if (answer.without) return;
    const face = this.#focus();
    const which = face?.id && face.id === this.#chosen ? "chosen" : "largest face";
    this.#part("who").textContent = face ? `Emotion${face.id ? ` of #${face.id}` : ""} (${which})` : "Emotion";
    showBars(this.#part("bars"), face?.emotion ?? [], this.#colorOf);
    this.#timeline.show(face?.id);
  }

  #snapshot() {
    const picture = copy(this.#camera.grab());
    const pen = /** @type {CanvasRenderingContext2D} */ (picture.getContext("2d"));
    const scene = this.#scene();
    if (scene) draw(pen, scene, picture.width, picture.height);
    else if (blurred()) hideAll(pen, picture, picture.width, picture.height);
    picture.toBlob((content) => content && save(content, "webcam-faces.jpg"), "image/jpeg", 0.92);
  }
}

/** @param {LiveFace} face */
function area({ box: [x1, y1, x2, y2] }) {
  return (x2 - x1) * (y2 - y1);
}

function tableBody() {
  return /** @type {HTMLElement} */ (document.querySelector("#webcam-table tbody"));
}

/** @param {(string | number)[]} cells */
function rowOf(cells) {
  const row = document.createElement("tr");
  row.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: String(text) })));
  return row;
}

/** @param {HTMLCanvasElement} picture */
function copy(picture) {
  const still = Object.assign(document.createElement("canvas"), { width: picture.width, height: picture.height });
  still.getContext("2d")?.drawImage(picture, 0, 0);
  return still;
}

/**
 * Brings the Webcam tab to life.
 *
 * @param {HTMLElement} element its panel
 * @param {Server} server
 * @param {Options} options
 */
export function start(element, server, options) {
  return new Webcam(element, server, options);
}
