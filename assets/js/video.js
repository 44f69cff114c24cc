// The Video tab: a clip on the stage, the people in it beside it, and what seeks its player.
/** @import { ClipAnswer, ClipPerson } from "./types.d.ts" */
import { Cards } from "./cards.js";
import { hideAll } from "./drawing.js";
import { onExamples, onPhotos } from "./photos.js";
import { blurred, settings } from "./settings.js";

const MOMENT_S = 0.3; // who is seen for less is set apart
const SETTINGS_DRAWN = [3, 4]; // of the drawer: the labels, and blur

/**
 * @typedef {import("./image.js").Page} Page
 *
 * @typedef {object} Options
 * @property {Record<string, string>} colors of the emotions
 * @property {string} other of an emotion without one
 */

const drawn = () => JSON.stringify(SETTINGS_DRAWN.map((n) => settings()?.[n]));

class VideoTab {
  #element;
  #page;
  /** @type {File | null} */
  #file = null;
  #url = "";
  #path = "";
  #request = 0;
  /** @type {ClipAnswer | null} */
  #answer = null;
  #running = false;
  #drawn = ""; // the settings that the clip was drawn with
  /** @type {number | null} */
  #chosen = null;
  /** @type {Map<string, HTMLImageElement>} */
  #portraits = new Map();
  #cards;
  #player;

  /**
   * @param {HTMLElement} element
   * @param {Page} page
   * @param {Options} options
   */
  constructor(element, page, options) {
    this.#element = element;
    this.#page = page;
    this.#player = /** @type {HTMLVideoElement} */ (this.#part("player"));
    this.#cards = ["cards", "brief-cards"].map(
      (name) =>
        new Cards(this.#part(name), {
          colorOf: (emotion) => options.colors[emotion] ?? options.other,
          choose: (id) => this.#choose(id, true),
          crop: (canvas, person) => this.#crop(canvas, /** @type {ClipPerson} */ (person)),
          extra: (person) => `${/** @type {ClipPerson} */ (person).seconds.toFixed(1)} s on screen`,
        }),
    );
    const input = /** @type {HTMLInputElement} */ (this.#part("file"));
    const clicks = {
      choose: () => input.click(),
      clear: () => this.#take([]),
      run: () => this.#run(false),
      anew: () => this.#run(true),
      cancel: () => this.#cancel(),
    };
    for (const [name, act] of Object.entries(clicks)) this.#part(name).addEventListener("click", act);
    this.#player.addEventListener("error", () => this.#cannotPlay());
    this.#part("charts").addEventListener("click", (event) => this.#onChart(event));
    page.watch("value", () => this.#receive(/** @type {ClipAnswer | null} */ (page.props.value)));
    window.addEventListener("faceinsight-settings", () => this.#show());
    this.#show();
    onExamples(element, (files) => this.#take(files));
    onPhotos(element, input, (files) => this.#take(files));
  }

  /** @param {string} name */
  #part(name) {
    return /** @type {HTMLElement} */ (this.#element.querySelector(`#video-${name}`));
  }

  /** @param {string} name */
  #number(name) {
    return Number(/** @type {HTMLInputElement} */ (this.#part(name)).value) || 0;
  }

  /**
   * Puts another clip on the stage; what was known of the one before goes with it.
   *
   * @param {File[]} files
   */
  async #take(files) {
    const file = files[0] ?? null;
    if (this.#running) this.#cancel();
    if (this.#url) URL.revokeObjectURL(this.#url);
    this.#file = file;
    [this.#url, this.#path] = [file ? URL.createObjectURL(file) : "", ""];
    this.#request += 1;
    this.#forget();
    this.#player.poster = "";
    if (file) this.#player.src = this.#url;
    else this.#player.removeAttribute("src");
    this.#say("");
    this.#part("problem").textContent = "";
    this.#show();
    if (!file) return;
    this.#say("Uploading…");
    const mine = this.#request;
    try {
      const { path } = await this.#page.upload(file);
      if (mine !== this.#request) return;
      this.#path = path;
    } catch (error) {
      const why = error instanceof Error && error.message ? error.message : "the server does not answer";
      if (mine === this.#request) this.#say(`${file.name} could not be uploaded (${why}): try again.`);
      return;
    }
    this.#show();
    this.#send("select", false);
  }

  #forget() {
    this.#answer = this.#chosen = null;
    this.#portraits.clear();
  }

  /**
   * @param {string} event
   * @param {boolean} anew
   */
  #send(event, anew) {
    this.#request += 1;
    this.#page.props.value = {
      request: this.#request,
      file: this.#path ? { path: this.#path } : null,
      name: this.#file?.name ?? "",
      start: this.#number("from"),
      end: this.#number("to"),
      rate: this.#number("rate"),
      anew,
    };
    this.#page.trigger(event);
  }

  /** @param {boolean} anew */
  #run(anew) {
    if (!this.#path || this.#running) return;
    if (!anew) this.#forget();
    this.#running = true;
    this.#drawn = drawn();
    this.#player.pause();
    this.#part("problem").textContent = "";
    this.#say("Starting…");
    this.#send("submit", anew);
    this.#show();
  }

  #cancel() {
    this.#page.trigger("stop");
    this.#request += 1;
    this.#running = false;
    this.#drawn = this.#answer ? this.#drawn : "";
    this.#say("Cancelled; nothing was kept.");
    this.#show();
  }

  /** @param {ClipAnswer | null} answer */
  #receive(answer) {
    if (!answer?.phase || answer.request !== this.#request) return;
    this.#say(answer.words);
    if (answer.phase === "ready") {
      this.#player.poster = answer.poster;
      this.#cannotPlay();
    }
    if (answer.phase === "running") this.#progress(answer);
    if (answer.phase === "failed") {
      this.#running = false;
      this.#part("problem").textContent = this.#player.videoWidth ? "" : answer.words;
    }
    if (answer.phase === "done") {
      this.#running = false;
      this.#answer = answer;
      // Else what the clip was chosen with would cover it until it plays.
      this.#player.poster = answer.poster;
      this.#player.src = answer.files.clip;
    }
    if (answer.phase !== "running") this.#show();
  }

  /** @param {ClipAnswer} answer */
  #progress({ share, preview }) {
    const bar = this.#part("bar");
    bar.setAttribute("aria-valuenow", String(Math.round(100 * share)));
    /** @type {HTMLElement} */ (bar.firstElementChild).style.width = `${100 * share}%`;
    Object.assign(this.#part("preview"), { src: preview, hidden: false });
  }

  /** Where the browser knows no such codec, the first frame stands for the clip. */
  #cannotPlay() {
    if (!this.#player.error || this.#player.src !== this.#url) return;
    this.#player.removeAttribute("src");
    this.#player.load();
  }

  /** @param {string} words */
  #say(words) {
    this.#part("notice").textContent = words;
  }

  /** Shows all that is known now. */
  #show() {
    const [answer, running] = [this.#answer, this.#running];
    this.#part("empty").hidden = Boolean(this.#file);
    this.#part("frame").hidden = this.#part("part").hidden = !this.#file;
    this.#part("bar").hidden = !running;
    if (!running) this.#part("preview").hidden = true;
    for (const [name, enabled] of Object.entries({ choose: true, clear: this.#file, run: this.#path && !running, cancel: running })) {
      /** @type {HTMLButtonElement} */ (this.#part(name)).disabled = !enabled;
    }
    this.#part("files").hidden = !answer || running;
    this.#part("anew").hidden = this.#drawn === drawn();
    const stem = this.#file?.name.replace(/\.[^.]*$/, "");
    for (const [kind, end] of Object.entries({ clip: "-faces.mp4", csv: ".csv", people: "-people.csv", json: ".json" })) {
      const link = /** @type {HTMLAnchorElement} */ (this.#part(kind));
      link.href = answer?.files[/** @type {keyof ClipAnswer["files"]} */ (kind)] ?? "#";
      link.download = `${stem}${end}`;
    }
    this.#part("note").textContent = answer?.note ?? "";
    this.#part("left-out").textContent = answer?.left_out ?? "";
    this.#part("charts").innerHTML = answer?.charts ?? "";
    this.#part("table").hidden = !answer?.rows.length;
    this.#part("rows").replaceChildren(...(answer?.rows ?? []).map((cells) => this.#row(cells)));
    this.#choose(this.#chosen, false);
  }

  /** @param {(string | number)[]} cells time, number, and what else there is */
  #row(cells) {
    const row = document.createElement("tr");
    row.dataset.id = String(cells[1]);
    row.append(...cells.map((text) => Object.assign(document.createElement("td"), { textContent: String(text) })));
    row.addEventListener("click", () => {
      this.#choose(Number(cells[1]) || null, false);
      this.#seek(Number(cells[0]));
    });
    return row;
  }

  /**
   * Marks somebody everywhere.
   *
   * @param {number | null} id
   * @param {boolean} seek to where they are first seen
   */
  #choose(id, seek) {
    this.#chosen = id;
    const people = this.#answer?.people ?? [];
    const groups = [people.filter((p) => p.seconds >= MOMENT_S), people.filter((p) => p.seconds < MOMENT_S)];
    this.#cards.forEach((cards, n) => cards.show(groups[n], id));
    this.#part("brief").hidden = !groups[1].length;
    for (const row of /** @type {NodeListOf<HTMLElement>} */ (this.#element.querySelectorAll("[data-id]"))) {
      row.classList.toggle("fi-chosen", id !== null && row.dataset.id === String(id));
    }
    const person = people.find((p) => p.id === id);
    if (seek && person) this.#seek(person.first);
  }

  /** @param {number} time in seconds of the whole clip */
  #seek(time) {
    this.#player.currentTime = Math.max(0, time - (this.#answer?.start ?? 0));
  }

  /** @param {MouseEvent} event */
  #onChart({ target, clientX }) {
    const row = target instanceof Element ? /** @type {HTMLElement | null} */ (target.closest("[data-id]")) : null;
    const chart = row?.querySelector("svg");
    if (!row || !chart) return;
    this.#choose(Number(row.dataset.id), false);
    const { left, width } = chart.getBoundingClientRect();
    const share = Math.min(Math.max((clientX - left) / width, 0), 1);
    const [first, last] = [Number(row.dataset.start), Number(row.dataset.end)];
    this.#seek(first + share * (last - first));
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {ClipPerson} person
   */
  #crop(canvas, { portrait }) {
    if (!portrait) return;
    let image = this.#portraits.get(portrait);
    if (!image) {
      image = Object.assign(new Image(), { src: portrait });
      this.#portraits.set(portrait, image);
      image.decode().then(() => this.#choose(this.#chosen, false));
    }
    const pen = canvas.getContext("2d");
    const [wide, high] = [image.naturalWidth, image.naturalHeight];
    if (!pen || !wide) return;
    const scale = canvas.width / Math.min(wide, high);
    pen.setTransform(scale, 0, 0, scale, (canvas.width - wide * scale) / 2, (canvas.height - high * scale) / 2);
    if (blurred()) hideAll(pen, image, wide, high);
    else pen.drawImage(image, 0, 0);
  }
}

/**
 * Begins the Video tab.
 *
 * @param {HTMLElement} element
 * @param {Page} page
 * @param {Options} options
 */
export function start(element, page, options) {
  return new VideoTab(element, page, options);
}
