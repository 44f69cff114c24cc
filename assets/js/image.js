// The Image tab: photos on one stage, with labels drawn over them, and the people in them beside it.
/** @import { PhotoAnswer, PhotosAnswer, Scene } from "./types.d.ts" */
import { Cards, stepOf } from "./cards.js";
import { draw, drawCrop } from "./drawing.js";
import { save } from "./files.js";
import { Overlay } from "./overlay.js";
import { onExamples, onPhotos, Photo, Snap } from "./photos.js";
import { blurred } from "./settings.js";

const THUMBNAIL = 96; // pixels of a photo's side in the strip
const PATIENCE_MS = 10_000; // for a word about a request, before the next one is sent all the same

/**
 * @typedef {object} Page what Gradio gives to a component's script
 * @property {{ value: object | null }} props
 * @property {(event: string) => void} trigger
 * @property {import("./photos.js").Upload} upload
 * @property {(prop: string, changed: () => void) => void} watch
 *
 * @typedef {object} Options
 * @property {Record<string, string>} colors of the emotions
 * @property {string} other of an emotion without one
 * @property {number} most photos at once
 */

class ImageTab {
  #element;
  #page;
  #options;
  /** @type {Photo[]} */
  #photos = [];
  /** @type {PhotosAnswer | null} */
  #answer = null;
  #request = 0; // the newest one
  #under = 0; // the one that is on its way, 0 for none
  #sentAt = 0;
  #later = 0; // a timer
  #shown = 0; // which of the photos is on the stage
  /** @type {number | null} */
  #chosen = null; // the number of a face
  #bare = false; // without labels, as long as a button is held
  #picture;
  #overlay;
  #cards;
  #snap;

  /**
   * @param {HTMLElement} element
   * @param {Page} page
   * @param {Options} options
   */
  constructor(element, page, options) {
    this.#element = element;
    this.#page = page;
    this.#options = options;
    this.#picture = /** @type {HTMLImageElement} */ (this.#part("picture"));
    this.#overlay = new Overlay(this.#picture, { id: "image-overlay" });
    this.#snap = new Snap(/** @type {HTMLVideoElement} */ (this.#part("camera")));
    this.#cards = new Cards(this.#part("cards"), {
      colorOf: (emotion) => options.colors[emotion] ?? options.other,
      choose: (id) => this.#choose(id),
      crop: (canvas, face) => this.#crop(canvas, face.box),
    });
    const input = /** @type {HTMLInputElement} */ (this.#part("file"));
    const clicks = {
      choose: () => input.click(),
      snap: () => this.#openSnap(),
      take: () => this.#takeSnap(),
      leave: () => this.#closeSnap(),
      clear: () => this.#take([]),
      save: () => this.#save(),
      csv: () => this.#download("csv", "text/csv"),
      json: () => this.#download("json", "application/json"),
    };
    for (const [name, act] of Object.entries(clicks)) this.#part(name).addEventListener("click", act);
    this.#hold(this.#part("bare"));
    const frame = this.#part("frame");
    frame.addEventListener("click", (event) => this.#choose(this.#overlay.at(event)?.id ?? null));
    frame.addEventListener("pointermove", (event) => this.#overlay.hover(this.#overlay.at(event)?.id ?? null));
    frame.addEventListener("pointerleave", () => this.#overlay.hover(null));
    frame.addEventListener("keydown", (event) => this.#step(event));
    page.watch("value", () => this.#receive(/** @type {PhotosAnswer | null} */ (page.props.value)));
    window.addEventListener("faceinsight-settings", () => this.#ask());
    new ResizeObserver(() => this.#paint()).observe(frame);
    this.#show();
    onExamples(element, (files) => this.#take(files));
    onPhotos(element, input, (files) => this.#take(files));
  }

  /** @param {string} name */
  #part(name) {
    return /** @type {HTMLElement} */ (this.#element.querySelector(`#image-${name}`));
  }

  /** @param {string} words */
  #say(words) {
    this.#part("notice").textContent = words;
  }

  /** @returns {PhotoAnswer | undefined} what is known of the photo on the stage */
  get #seen() {
    return this.#answer?.photos[this.#shown];
  }

  /** @returns {number | null} the face that needs no choosing */
  #only() {
    const faces = this.#seen?.faces ?? [];
    return faces.length === 1 ? faces[0].id : null;
  }

  /**
   * Puts other photos on the stage; what was known of those before goes with them.
   *
   * @param {File[]} files
   */
  async #take(files) {
    this.#closeSnap();
    for (const photo of this.#photos) photo.forget();
    const most = this.#options.most;
    const photos = files.slice(0, most).map((file) => new Photo(file));
    this.#photos = photos;
    this.#answer = null;
    this.#request += 1;
    [this.#shown, this.#chosen] = [0, null];
    this.#say(files.length > most ? `Only the first ${most} of ${files.length} photos are taken.` : "");
    this.#show();
    if (!photos.length) return;
    photos[0].load().then(() => this.#show());
    let sent = 0;
    const send = async (/** @type {Photo} */ photo) => {
      await Promise.all([photo.send(this.#page.upload), photo.load()]);
      sent += 1;
      if (photos === this.#photos && photos.length > 1) this.#say(`${sent} of ${photos.length} photos uploaded…`);
    };
    await Promise.all(photos.map(send));
    if (photos !== this.#photos) return;
    this.#ask();
  }

  /** Whether there are photos, and each was sent or could not be. */
  get #ready() {
    return this.#photos.length > 0 && this.#photos.every((photo) => photo.path || photo.problem);
  }

  /** Asks the server about the photos, with the settings of now. */
  #ask() {
    this.#paint();
    if (!this.#ready) return;
    this.#request += 1;
    if (!this.#answer) this.#say("Looking for faces…");
    this.#send();
  }

  /** Sends the newest request, once the one before is answered, or was long enough on its way. */
  #send() {
    clearTimeout(this.#later);
    const wait = this.#under ? this.#sentAt + PATIENCE_MS - performance.now() : 0;
    if (wait > 0) {
      this.#later = setTimeout(() => this.#send(), wait);
      return;
    }
    if (!this.#ready) return;
    [this.#under, this.#sentAt] = [this.#request, performance.now()];
    const asked = this.#photos.map(({ path, problem, shown, file: { name } }) => ({
      file: path ? { path } : null,
      name,
      preview: !shown,
      problem,
    }));
    this.#page.props.value = { request: this.#request, photos: asked };
    this.#page.trigger("submit");
  }

  /** @param {PhotosAnswer | null} answer */
  #receive(answer) {
    if (!answer?.photos || !("words" in answer)) return;
    if (answer.request === this.#under) {
      this.#sentAt = performance.now();
      if (answer.done || !answer.photos.length) this.#under = 0;
      if (!this.#under && answer.request !== this.#request) this.#send();
    }
    if (answer.request !== this.#request) return;
    this.#answer = answer;
    for (const [n, { preview }] of answer.photos.entries()) {
      const photo = this.#photos[n];
      if (!preview || photo.image.src === preview) continue;
      photo.image.src = preview;
      photo.load().then(() => this.#show());
    }
    if (!this.#seen?.faces.some(({ id }) => id === this.#chosen)) this.#chosen = this.#only();
    this.#say(answer.words);
    this.#show();
    const labels = { at: performance.now(), done: answer.done };
    this.#element.dispatchEvent(new CustomEvent("labels", { bubbles: true, detail: labels }));
  }

  /** Shows all that is known now. */
  #show() {
    const photo = this.#photos[this.#shown];
    const seen = this.#seen;
    this.#part("empty").hidden = Boolean(photo);
    this.#part("frame").hidden = this.#part("files").hidden = !photo;
    if (photo && this.#picture.src !== photo.image.src) this.#picture.src = photo.image.src;
    for (const other of this.#photos) if (other !== photo) other.pack();
    photo?.unpack();
    this.#picture.hidden = !photo?.image.naturalWidth;
    this.#picture.alt = photo ? `${photo.file.name}: ${seen ? seen.words : "not looked at yet"}` : "";
    const whole = Boolean(this.#answer?.done);
    for (const [name, enabled] of Object.entries({ choose: true, snap: true, clear: photo, bare: seen?.size, save: seen?.size, csv: whole, json: whole })) {
      /** @type {HTMLButtonElement} */ (this.#part(name)).disabled = !enabled;
    }
    this.#part("problem").textContent = photo?.problem || seen?.problem || "";
    this.#part("note").textContent = seen?.note ?? "";
    this.#part("without").textContent = seen?.without ?? "";
    this.#showChoice();
    this.#strip();
    this.#paint();
  }

  #showChoice() {
    const faces = this.#seen?.faces ?? [];
    this.#cards.show(faces, this.#chosen);
    this.#part("rows").replaceChildren(
      ...faces.map((face) => {
        const row = document.createElement("tr");
        row.classList.toggle("fi-chosen", face.id === this.#chosen);
        row.append(...face.cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
        row.addEventListener("click", () => this.#choose(face.id));
        return row;
      }),
    );
    this.#part("table").hidden = !faces.length;
  }

  /** @param {number | null} id */
  #choose(id) {
    this.#chosen = id;
    this.#showChoice();
    this.#paint();
  }

  /** @param {KeyboardEvent} event */
  #step(event) {
    const step = stepOf(event.key);
    const ids = (this.#seen?.faces ?? []).map(({ id }) => id);
    if (!step || !ids.length) return;
    event.preventDefault();
    const now = ids.indexOf(/** @type {number} */ (this.#chosen));
    this.#choose(ids[now < 0 ? 0 : (now + step + ids.length) % ids.length]);
  }

  /**
   * @param {number} n which of the photos
   * @param {boolean} [bare] without labels
   * @returns {Scene | null}
   */
  #scene(n, bare = false) {
    const [photo, seen] = [this.#photos[n], this.#answer?.photos[n]];
    if (!seen?.size || !photo.image.naturalWidth) return null;
    return {
      size: seen.size,
      faces: seen.faces,
      blur: blurred(),
      still: blurred() ? photo.still : undefined,
      chosen: n === this.#shown ? this.#chosen : null,
      bare,
    };
  }

  #paint() {
    if (this.#photos[this.#shown]?.image.naturalWidth) this.#overlay.show(this.#scene(this.#shown, this.#bare), blurred());
    else this.#overlay.clear();
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./types.d.ts").Box} box
   */
  #crop(canvas, box) {
    const scene = this.#scene(this.#shown, true);
    if (scene) drawCrop(canvas, scene, this.#photos[this.#shown].still, box);
  }

  /** Shows the photos in a row, where there are several. */
  #strip() {
    const strip = this.#part("strip");
    strip.hidden = this.#photos.length < 2;
    if (strip.hidden) return;
    strip.replaceChildren(
      ...this.#photos.map((photo, n) => {
        const seen = this.#answer?.photos[n];
        const button = document.createElement("button");
        button.title = photo.file.name;
        button.setAttribute("aria-label", `${photo.file.name}: ${photo.problem || seen?.words || "not looked at yet"}`);
        button.setAttribute("aria-pressed", String(n === this.#shown));
        const canvas = Object.assign(document.createElement("canvas"), { width: THUMBNAIL, height: THUMBNAIL });
        this.#thumbnail(canvas, n);
        const count = document.createElement("span");
        count.textContent = photo.problem || seen?.problem ? "!" : seen ? String(seen.faces.length) : "…";
        button.append(canvas, count);
        button.addEventListener("click", () => {
          this.#shown = n;
          this.#chosen = this.#only();
          this.#show();
        });
        return button;
      }),
    );
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number} n
   */
  #thumbnail(canvas, n) {
    const { image } = this.#photos[n];
    const pen = canvas.getContext("2d");
    // Before the faces are known, a photo whose faces are to be blurred is not shown.
    const scene = this.#scene(n, true);
    if (!pen || !image.naturalWidth || (blurred() && !scene)) return;
    const [width, height] = scene?.size ?? [image.naturalWidth, image.naturalHeight];
    const scale = THUMBNAIL / Math.min(width, height);
    pen.setTransform(scale, 0, 0, scale, (THUMBNAIL - width * scale) / 2, (THUMBNAIL - height * scale) / 2);
    draw(pen, { size: [width, height], faces: [], blur: false, ...scene, still: image, bare: true }, width, height);
  }

  /**
   * Takes the labels away as long as a button is held.
   *
   * @param {HTMLElement} button
   */
  #hold(button) {
    const bare = (/** @type {boolean} */ on) => {
      this.#bare = on;
      this.#paint();
    };
    button.addEventListener("pointerdown", () => bare(true));
    button.addEventListener("keydown", ({ key }) => (key === " " || key === "Enter") && bare(true));
    for (const name of ["pointerup", "pointerleave", "keyup", "blur"]) button.addEventListener(name, () => bare(false));
  }

  #save() {
    const scene = this.#scene(this.#shown);
    if (!scene) return;
    const { image, file } = this.#photos[this.#shown];
    const canvas = Object.assign(document.createElement("canvas"), {
      width: image.naturalWidth,
      height: image.naturalHeight,
    });
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    draw(pen, { ...scene, still: image, chosen: null }, canvas.width, canvas.height);
    canvas.toBlob((content) => content && save(content, `${stem(file.name)}-faces.jpg`), "image/jpeg", 0.92);
  }

  /**
   * @param {"csv" | "json"} kind
   * @param {string} type
   */
  #download(kind, type) {
    if (!this.#answer) return;
    const name = this.#photos.length === 1 ? stem(this.#photos[0].file.name) : "faces";
    save(new Blob([this.#answer[kind]], { type }), `${name}.${kind}`);
  }

  async #openSnap() {
    this.#part("snapping").hidden = !(await this.#snap.open());
    this.#part("take").focus();
  }

  async #takeSnap() {
    const file = await this.#snap.take();
    if (file) this.#take([file]);
  }

  #closeSnap() {
    this.#snap.close();
    this.#part("snapping").hidden = true;
  }
}

/** @param {string} name of a file */
const stem = (name) => name.replace(/\.[^.]*$/, "");

/**
 * Begins the Image tab.
 *
 * @param {HTMLElement} element
 * @param {Page} page
 * @param {Options} options
 */
export function start(element, page, options) {
  return new ImageTab(element, page, options);
}
