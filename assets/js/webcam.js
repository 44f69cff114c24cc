// The Webcam tab: labels over the visitor's own camera picture, the people beside it, and what is left after.
/** @import { Answer, Box, LiveFace, Picture, Scene } from "./types.d.ts" */
import { Camera } from "./camera.js";
import { Cards } from "./cards.js";
import { Figures } from "./figures.js";
import { Motion } from "./motion.js";
import { draw, drawCrop, hideAll } from "./drawing.js";
import { Overlay } from "./overlay.js";
import { Recording } from "./recording.js";
import { Session, Snapshots } from "./session.js";
import { blurred, settings } from "./settings.js";
import { FrameStream } from "./stream.js";
import { Timeline } from "./timeline.js";

const WANTED = { width: 640, height: 480, facingMode: "user" };
const MAX_SIDE = 640; // of the frames that are sent
const QUALITY = 0.8;
const STALE_MS = 2000; // labels that old are not shown
const READ_MS = 500; // between two updates of what is read
const STATUS_MS = 2000; // between two updates of the page's status line
const WINDOW_MS = 30000; // of the timeline, while the camera is on

/**
 * @typedef {object} Server the functions of ui/webcam_tab.py
 * @property {(data: object) => Promise<Answer>} live_frame
 *
 * @typedef {object} Page what Gradio gives to a component's script
 * @property {{ value: object | null }} props
 * @property {(event: string) => void} trigger
 *
 * @typedef {object} Options
 * @property {Record<string, string>} colors of the emotions
 * @property {string} other of an emotion without one
 *
 * @typedef {Answer & { takenAt: number, still?: Picture }} Shown an answer, when its frame was taken, and the frame
 */

class Webcam {
  #element;
  #page;
  #camera;
  #stream;
  #recording;
  #overlay;
  #cards;
  #snapshots;
  #timeline;
  #whole;
  #session = new Session();
  #motion = new Motion();
  /** @type {"off" | "opening" | "on"} */
  #state = "off";
  #starts = 0;
  #began = 0;
  #ended = 0;
  /** @type {Shown | null} */
  #answer = null;
  /** @type {number | null} */
  #chosen = null;
  /** Since when the server does not answer, in milliseconds. @type {number | null} */
  #away = null;
  #highest = 0; // number of a person since the page was opened
  #shownAt = 0;
  #lookAt = 0;
  #readAt = 0;
  #statusAt = 0;
  #painted = new Figures();
  #updates = new Figures();

  /**
   * @param {HTMLElement} element
   * @param {Server} server
   * @param {Page} page
   * @param {Options} options
   */
  constructor(element, server, page, { colors, other }) {
    this.#element = element;
    this.#page = page;
    const colorOf = (/** @type {string} */ emotion) => colors[emotion] ?? other;
    const choose = (/** @type {number | null} */ id) => this.#choose(id);
    this.#stream = new FrameStream(server.live_frame);
    this.#recording = new Recording({
      box: /** @type {HTMLInputElement} */ (this.#part("record")),
      button: this.#button("csv"),
      words: this.#part("rows"),
    });
    this.#snapshots = new Snapshots(this.#part("strip"), this.#part("kept"));
    const canvas = /** @type {HTMLCanvasElement} */ (this.#part("timeline"));
    this.#timeline = new Timeline(canvas, colorOf, WINDOW_MS);
    this.#whole = new Timeline(canvas, colorOf, Infinity);
    this.#cards = new Cards(this.#part("cards"), {
      colorOf,
      choose,
      crop: (place, { id }) => this.#session.crop(place, id, blurred()),
      extra: ({ seconds }) => (seconds ? `seen ${timeOf(1000 * seconds)}` : ""),
    });
    const video = /** @type {HTMLVideoElement} */ (this.#part("video"));
    this.#overlay = new Overlay(video, { id: "webcam-overlay", choose });
    this.#camera = new Camera(video, {
      frame: (now, takenAt, mediaTime) => this.#onFrame(now, takenAt, mediaTime),
      lost: () => this.#stop(),
    });
    this.#part("toggle").addEventListener("click", () => (this.#state === "off" ? this.#start() : this.#stop()));
    this.#part("snapshot").addEventListener("click", () => this.#snapshot());
    this.#part("people").addEventListener("click", ({ target }) => {
      const row = /** @type {Element} */ (target).closest("tr");
      if (row?.dataset.id) choose(Number(row.dataset.id));
    });
    const again = () => this.#state === "off" && this.#showSession();
    window.addEventListener("faceinsight-settings", () => {
      this.#snapshots.blur(blurred());
      again();
    });
    new ResizeObserver(again).observe(canvas);
    this.#button("toggle").disabled = false;
  }

  /** @param {string} name */
  #part(name) {
    return /** @type {HTMLElement} */ (this.#element.querySelector(`#webcam-${name}`));
  }

  /** @param {string} name */
  #button(name) {
    return /** @type {HTMLButtonElement} */ (this.#part(name));
  }

  /** @param {"off" | "opening" | "on"} state */
  #set(state) {
    this.#state = state;
    const off = state === "off";
    this.#part("empty").hidden = !off;
    this.#part("frame").hidden = off;
    this.#part("toggle").textContent = off ? "Start camera" : "Stop camera";
    this.#button("snapshot").disabled = state !== "on";
  }

  async #start() {
    const mine = (this.#starts += 1);
    this.#set("opening");
    const opened = await this.#camera.start(WANTED);
    if (mine !== this.#starts) return;
    if (!opened) return this.#set("off");
    this.#set("on");
    this.#stream.begin();
    this.#began = performance.now();
    this.#shownAt = this.#lookAt = this.#readAt = this.#statusAt = 0;
    this.#answer = this.#chosen = this.#away = null;
    this.#motion.clear();
    this.#session.clear();
    this.#snapshots.clear();
    this.#timeline.clear();
    this.#whole.clear();
    [this.#painted, this.#updates] = [new Figures(), new Figures()];
    this.#recording.begin();
    this.#cards.show([], null);
    this.#part("mood").hidden = true;
    this.#part("note").textContent = "";
    this.#part("notice").textContent = "Starting…";
  }

  /** Turns the camera off; what was seen stays to be looked at. */
  #stop() {
    this.#starts += 1;
    this.#camera.stop();
    if (this.#state === "on") {
      this.#stream.end();
      this.#ended = performance.now();
      this.#recording.end();
      this.#answer = null;
      this.#overlay.clear();
      this.#part("figures").hidden = true;
      this.#part("headline").textContent = "The camera is off";
      this.#part("people").replaceChildren();
      this.#part("table").hidden = true;
    }
    this.#set("off");
    this.#showSession();
  }

  #showSession() {
    if (!this.#ended) return;
    const { people, left } = this.#session;
    const longest = people.toSorted((a, b) => b.seconds - a.seconds)[0];
    const focus = people.find(({ id }) => id === this.#chosen) ?? longest;
    const count = people.length === 1 ? "1 person" : `${people.length || "no"} people`;
    this.#part("notice").textContent = `The last session: ${count} in ${timeOf(this.#ended - this.#began)}`;
    this.#part("note").textContent = `It stays here until the next start. ${left}`.trim();
    this.#cards.show(people, this.#chosen, focus?.id ?? null);
    this.#part("mood").hidden = !focus?.emotion;
    if (!focus?.emotion) return;
    this.#part("who").textContent = `Emotion of #${focus.id} over the whole time`;
    this.#part("from").textContent = `${timeOf(this.#whole.span)} before the end`;
    this.#part("to").textContent = "end";
    this.#whole.show(focus.id);
  }

  /**
   * @param {number} now
   * @param {number} takenAt
   * @param {number | undefined} mediaTime
   */
  #onFrame(now, takenAt, mediaTime) {
    if (this.#state !== "on" || !settings()) return;
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
    const looks = takenAt >= this.#lookAt;
    if (looks) this.#lookAt = takenAt + READ_MS;
    const still = blurred() || looks ? copy(frame) : undefined;
    const result = await this.#stream.send(takenAt, { picture, settings: settings(), record: this.#recording.on, after: this.#highest });
    if (!result) return;
    if ("problem" in result) {
      this.#answer = null;
      if (result.silent) this.#away ??= performance.now();
      // To wait in line is no mishap.
      this.#part("notice").textContent = result.line ? result.problem : `⚠️ ${result.problem}`;
      return;
    }
    if (result.rows) this.#recording.add(result.rows, takenAt);
    this.#take({ ...result, takenAt, still });
    if (looks && still) this.#look(result, still);
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
    if (this.#away !== null) {
      const away = timeOf(performance.now() - this.#away);
      this.#part("note").textContent =
        `The server was away for ${away}. What was seen and recorded before is still here; people have new numbers.`;
      this.#away = null;
    }
    this.#highest = Math.max(this.#highest, ...answer.faces.map(({ id }) => id));
    this.#motion.take(answer.faces, this.#answer ? (answer.takenAt - this.#answer.takenAt) / 1000 : 0);
    for (const line of [this.#timeline, this.#whole, this.#session]) line.add(answer.faces, answer.takenAt);
    this.#answer = answer;
  }

  /** Draws the labels where the faces are by now; returns whether there are any that are fresh. @param {number} now */
  #paint(now) {
    const takenAt = this.#answer?.takenAt ?? -Infinity;
    const fresh = now - takenAt < STALE_MS;
    if (fresh) this.#motion.move(this.#shownAt - takenAt);
    this.#overlay.show(fresh ? this.#scene() : null, blurred());
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
    if (this.#state === "off") return this.#showSession();
    const now = performance.now();
    this.#paint(now);
    this.#read(now);
  }

  /** Shows what is read rather than looked at. @param {number} now */
  #read(now) {
    const answer = this.#answer;
    if (!answer) return;
    const { faces, without } = answer;
    this.#part("notice").textContent = faces.length === 1 ? "1 face" : `${faces.length} faces`;
    this.#part("fps").textContent = (blurred() ? this.#updates : this.#painted).rate(now);
    this.#part("updates").textContent = this.#updates.rate(now);
    this.#part("latency").textContent = this.#updates.median(now);
    this.#part("figures").hidden = false;
    this.#part("without").textContent = without;
    this.#showRows(faces);
    const known = faces.filter(({ id }) => id).toSorted((a, b) => a.id - b.id);
    const chosen = known.find(({ id }) => id === this.#chosen);
    const focus = chosen ?? known.toSorted((a, b) => area(b.box) - area(a.box))[0];
    this.#cards.show(known, this.#chosen, focus?.id ?? null);
    this.#part("mood").hidden = Boolean(without);
    this.#part("who").textContent = focus ? `Emotion of #${focus.id} (${chosen ? "chosen" : "largest face"})` : "Emotion";
    this.#part("from").textContent = "30 s ago";
    this.#part("to").textContent = "now";
    if (!without) this.#timeline.show(focus?.id);
    if (now < this.#statusAt) return;
    this.#statusAt = now + STATUS_MS;
    this.#page.props.value = { status: answer.status };
    this.#page.trigger("submit");
  }

  /** Keeps what everybody looks like. @param {Answer} answer @param {Picture} still its frame */
  #look({ size, faces }, still) {
    const scene = { size, faces, blur: blurred() };
    for (const { id, box } of faces) {
      this.#session.look(id, (canvas) => drawCrop(canvas, scene, still, box), scene.blur);
    }
  }

  /** @param {LiveFace[]} faces */
  #showRows(faces) {
    const body = this.#part("people");
    // The rows stay while they are pressed: only their text changes.
    while (body.children.length > faces.length) body.lastChild?.remove();
    for (const [n, { id, cells }] of faces.entries()) {
      const row = /** @type {HTMLElement} */ (body.children[n] ?? body.appendChild(document.createElement("tr")));
      while (row.children.length < cells.length) row.append(document.createElement("td"));
      for (const [at, text] of cells.entries()) row.children[at].textContent = String(text);
      row.dataset.id = String(id || "");
      row.classList.toggle("fi-chosen", id !== 0 && id === this.#chosen);
    }
    this.#part("table").hidden = false;
  }

  #snapshot() {
    const picture = copy(this.#camera.grab());
    const pen = /** @type {CanvasRenderingContext2D} */ (picture.getContext("2d"));
    const scene = this.#scene();
    if (scene) draw(pen, { ...scene, chosen: null }, picture.width, picture.height);
    else if (blurred()) hideAll(pen, picture, picture.width, picture.height);
    this.#snapshots.add(picture, blurred());
  }
}

/** @param {Box} box */
function area([x1, y1, x2, y2]) {
  return (x2 - x1) * (y2 - y1);
}

/** Returns a duration as minutes and seconds. @param {number} ms */
function timeOf(ms) {
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
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
 * @param {HTMLElement} element
 * @param {Server} server
 * @param {Page} page
 * @param {Options} options
 */
export function start(element, server, page, options) {
  return new Webcam(element, server, page, options);
}
