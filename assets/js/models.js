// The packs of Models & about: what is here, and the one download that may be under way.
/** @import { Pack, PacksAnswer } from "./types.d.ts" */
import { ask } from "./stream.js";

const LOOK_MS = 500; // between two looks at a download
const STATES = { here: "here", partly: "incomplete", absent: "not here", unusable: "unusable" };
const SILENCE = "The server does not answer: try again in a moment.";

/**
 * @typedef {object} Server the functions of ui/about_tab.py
 * @property {(data: object) => Promise<PacksAnswer>} packs
 *
 * @typedef {object} Page what Gradio gives to a component's script
 * @property {{ value: object | null }} props
 * @property {(event: string) => void} trigger
 */

class Models {
  #element;
  #server;
  #page;
  /** @type {PacksAnswer | null} */
  #answer = null;
  #asking = ""; // the pack whose licences are shown
  #busy = false;
  /** What was asked for while an answer was waited for. @type {object | null} */
  #next = null;
  #timer = 0;

  /**
   * @param {HTMLElement} element
   * @param {Server} server
   * @param {Page} page
   */
  constructor(element, server, page) {
    this.#element = element;
    this.#server = server;
    this.#page = page;
    this.#part("packs").addEventListener("click", ({ target }) => {
      const button = target instanceof Element ? /** @type {HTMLElement | null} */ (target.closest("[data-act]")) : null;
      const pack = /** @type {HTMLElement | null | undefined} */ (button?.closest("article"))?.dataset.pack;
      if (button && pack) this.#act(button.dataset.act ?? "", pack);
    });
    this.#part("packs").addEventListener("change", ({ target }) => {
      const box = /** @type {HTMLInputElement} */ (target);
      const button = box.closest("[data-part=licence]")?.querySelector("[data-act=fetch]");
      if (button) /** @type {HTMLButtonElement} */ (button).disabled = !box.checked;
    });
    this.#send({ what: "look" });
  }

  /** @param {string} name */
  #part(name) {
    return /** @type {HTMLElement} */ (this.#element.querySelector(`#models-${name}`));
  }

  /**
   * @param {string} what
   * @param {string} pack
   */
  #act(what, pack) {
    if (what === "ask" || what === "back") {
      this.#asking = what === "ask" ? pack : "";
      this.#show();
      const open = what === "ask" ? "[data-part=licence] input" : "[data-act=ask]";
      /** @type {HTMLElement | null | undefined} */ (this.#article(pack)?.querySelector(open))?.focus();
      return;
    }
    if (what === "fetch") this.#asking = "";
    this.#say(what === "verify" ? "Reading every file…" : "", false);
    this.#send({ what, pack, accepted: what === "fetch" });
  }

  /** @param {{ what: string, pack?: string, accepted?: boolean }} data */
  async #send(data) {
    if (this.#busy) {
      if (data.what !== "look") this.#next = data;
      return;
    }
    this.#busy = true;
    window.clearTimeout(this.#timer);
    const answer = await ask(this.#server.packs, data);
    this.#busy = false;
    if (answer) this.#take(data.what, answer);
    else if (data.what !== "look") this.#say(SILENCE, true);
    const next = this.#next;
    this.#next = null;
    if (next) this.#send(/** @type {typeof data} */ (next));
    else if (!answer || answer.download?.running) this.#look();
  }

  /**
   * @param {string} what was asked for
   * @param {PacksAnswer} answer
   */
  #take(what, answer) {
    const ran = this.#answer?.download?.running;
    this.#answer = answer;
    const { download } = answer;
    if (what !== "look") this.#say(answer.problem || answer.words, Boolean(answer.problem));
    if (ran && download && !download.running) this.#say(download.words, download.failed);
    if ((ran && !download?.running) || what === "remove" || what === "verify") this.#page.trigger("submit");
    this.#show();
  }

  #look() {
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#send({ what: "look" }), LOOK_MS);
  }

  /**
   * @param {string} words
   * @param {boolean} problem
   */
  #say(words, problem) {
    const place = this.#part("notice");
    place.textContent = problem ? `⚠️ ${words}` : words;
    place.classList.toggle("fi-problem", problem);
  }

  /** @param {string} pack */
  #article(pack) {
    const articles = /** @type {NodeListOf<HTMLElement>} */ (this.#element.querySelectorAll("article"));
    return [...articles].find((article) => article.dataset.pack === pack);
  }

  #show() {
    const answer = this.#answer;
    if (!answer) return;
    this.#part("why").textContent = answer.why;
    const names = new Set(answer.packs.map(({ name }) => name));
    for (const article of this.#element.querySelectorAll("article")) {
      if (!names.has(article.dataset.pack ?? "")) article.remove();
    }
    for (const pack of answer.packs) this.#fill(this.#article(pack.name) ?? this.#add(pack.name), pack, answer);
  }

  /** @param {string} name */
  #add(name) {
    const form = /** @type {HTMLTemplateElement} */ (this.#part("pack"));
    const article = /** @type {HTMLElement} */ (form.content.firstElementChild?.cloneNode(true));
    article.dataset.pack = name;
    article.setAttribute("aria-label", name);
    article.querySelector("[role=region]")?.setAttribute("aria-label", `Files of ${name}`);
    return this.#part("packs").appendChild(article);
  }

  /**
   * @param {HTMLElement} article
   * @param {Pack} pack
   * @param {PacksAnswer} answer
   */
  #fill(article, pack, { may, download }) {
    const one = (/** @type {string} */ selector) => /** @type {HTMLElement} */ (article.querySelector(selector));
    const mine = download?.pack === pack.name && download.running;
    one("h3").textContent = pack.title.toLowerCase() === pack.name ? pack.title : `${pack.name}: ${pack.title}`;
    one(".fi-state").textContent = pack.state === "here" ? pack.words : STATES[pack.state];
    one(".fi-state").dataset.state = pack.state;
    one("[data-part=description]").textContent = pack.state === "unusable" ? pack.words : pack.description;
    const asked = this.#asking === pack.name && pack.fetch && !download?.running;
    one("[data-part=licence]").hidden = !asked;
    one("[data-act=ask]").hidden = !may || !pack.fetch || asked || mine;
    /** @type {HTMLButtonElement} */ (one("[data-act=ask]")).disabled = Boolean(download?.running);
    one("[data-act=verify]").hidden = !may || !pack.verify;
    one("[data-act=remove]").hidden = !may || !pack.remove || mine;
    one("[data-part=download]").hidden = !mine;
    one("[data-act=cancel]").hidden = !may;
    if (mine) {
      one("[data-part=download] span").textContent = download.words;
      const bar = one(".clip-progress");
      bar.setAttribute("aria-valuenow", String(Math.round(100 * (download.share ?? 0))));
      /** @type {HTMLElement} */ (bar.firstElementChild).style.width = `${100 * (download.share ?? 0)}%`;
    }
    if (article.dataset.shown === JSON.stringify(pack)) return;
    article.dataset.shown = JSON.stringify(pack);
    for (const list of article.querySelectorAll("ul")) {
      list.replaceChildren(...pack.licences.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    }
    one("details").hidden = !pack.files.length;
    one("tbody").replaceChildren(...pack.files.map(row));
  }
}

/** @param {Pack["files"][number]} file */
function row({ stage, name, size, state }) {
  const cells = [stage, name, size, state].map((text) => Object.assign(document.createElement("td"), { textContent: text }));
  const line = document.createElement("tr");
  line.append(...cells);
  return line;
}

/**
 * Brings the packs of the tab to life.
 *
 * @param {HTMLElement} element
 * @param {Server} server
 * @param {Page} page
 */
export function start(element, server, page) {
  return new Models(element, server, page);
}
