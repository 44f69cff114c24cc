// The people of a picture, a camera or a clip as cards: crop, age with its range, gender, emotion; one of them chosen.
/** @import { Card, Shares } from "./types.d.ts" */
import { showBars } from "./timeline.js";

const OLDEST = 100; // the end of the scale of ages, in years

/**
 * @typedef {object} Options
 * @property {(emotion: string) => string} colorOf
 * @property {(id: number) => void} choose told of the number of who was chosen
 * @property {(canvas: HTMLCanvasElement, someone: any) => void} crop draws a face
 * @property {(someone: any) => string} [extra] further words
 */

/** A list of cards, of which the arrow keys choose one. */
export class Cards {
  #place;
  #options;
  /** @type {Map<number, HTMLElement>} */
  #cards = new Map();

  /**
   * @param {HTMLElement} place
   * @param {Options} options
   */
  constructor(place, options) {
    this.#place = place;
    this.#options = options;
    place.setAttribute("role", "listbox");
    place.addEventListener("click", ({ target }) => this.#pick(/** @type {Element} */ (target)));
    place.addEventListener("keydown", (event) => {
      const step = stepOf(event.key);
      const ids = [...this.#cards.keys()];
      if (!step || !ids.length) return;
      event.preventDefault();
      const now = ids.findIndex((id) => this.#cards.get(id)?.getAttribute("aria-selected") === "true");
      const next = ids[now < 0 ? 0 : (now + step + ids.length) % ids.length];
      options.choose(next);
      this.#cards.get(next)?.focus();
    });
  }

  /** @param {Element} target */
  #pick(target) {
    for (const [id, card] of this.#cards) if (card.contains(target)) this.#options.choose(id);
  }

  /**
   * Shows faces, each in the card that it had before.
   *
   * @param {Card[]} faces
   * @param {number | null} chosen
   * @param {number | null} [open] whose card tells all
   */
  show(faces, chosen, open = chosen) {
    const held = this.#place.contains(document.activeElement) && document.activeElement;
    const cards = new Map(faces.map((face) => [face.id, this.#cards.get(face.id) ?? newCard()]));
    const same = cards.size === this.#cards.size && [...cards].every(([id, card]) => this.#cards.get(id) === card);
    this.#cards = cards;
    if (!same) this.#place.replaceChildren(...cards.values());
    if (!same && held instanceof HTMLElement) held.focus();
    this.#place.hidden = !faces.length;
    for (const [n, face] of faces.entries()) {
      const card = /** @type {HTMLElement} */ (cards.get(face.id));
      const selected = face.id === chosen;
      fill(card, face, face.id === open, this.#options);
      card.tabIndex = selected || (chosen === null && n === 0) ? 0 : -1;
      if (selected && card.getAttribute("aria-selected") !== "true") card.scrollIntoView({ block: "nearest" });
      card.setAttribute("aria-selected", String(selected));
    }
  }
}

/**
 * Returns how far a key moves a choice: 0 for other keys.
 *
 * @param {string} key
 */
export function stepOf(key) {
  if (key === "ArrowRight" || key === "ArrowDown") return 1;
  return key === "ArrowLeft" || key === "ArrowUp" ? -1 : 0;
}

function newCard() {
  const card = document.createElement("div");
  card.className = "fi-card";
  card.setAttribute("role", "option");
  card.innerHTML = `
    <canvas width="112" height="112"></canvas>
    <div class="fi-who"><b></b><span class="fi-age"></span><span class="fi-gender"></span><span class="fi-extra"></span></div>
    <div class="fi-range"><i></i><b></b></div>
    <div class="fi-mood"><span></span><div class="fi-shares"></div></div>
    <div class="fi-bars"></div>`;
  return card;
}

/**
 * @param {HTMLElement} card
 * @param {Card} someone
 * @param {boolean} open whether it tells all
 * @param {Options} options
 */
function fill(card, someone, open, { colorOf, crop, extra }) {
  const { id, color, age, range, gender, emotion } = someone;
  const part = (/** @type {string} */ name) => /** @type {HTMLElement} */ (card.querySelector(name));
  card.style.setProperty("--face", color);
  crop(/** @type {HTMLCanvasElement} */ (part("canvas")), someone);
  part(".fi-who b").textContent = id ? `#${id}` : "–";
  part(".fi-age").textContent = age === null ? "" : `${age} years${range ? ` (${range[0]}–${range[1]})` : ""}`;
  part(".fi-gender").textContent = gender ? sure(gender) : "";
  part(".fi-extra").textContent = extra?.(someone) ?? "";
  part(".fi-range").hidden = age === null;
  if (age !== null) {
    const [low, high] = (range ?? [age, age]).map((years) => Math.min(years, OLDEST));
    part(".fi-range i").style.cssText = `left: ${low}%; width: ${Math.max(high - low, 1)}%`;
    part(".fi-range b").style.left = `${Math.min(age, OLDEST)}%`;
  }
  part(".fi-mood").hidden = !emotion;
  part(".fi-mood span").textContent = emotion ? sure(emotion) : "";
  part(".fi-shares").replaceChildren(
    ...(emotion ?? []).map(([name, share]) =>
      Object.assign(document.createElement("i"), { style: `width: ${100 * share}%; background: ${colorOf(name)}` }),
    ),
  );
  part(".fi-bars").hidden = !open || !emotion;
  if (open && emotion) showBars(part(".fi-bars"), emotion, colorOf);
}

/**
 * Returns the likeliest answer in words, with how sure it is.
 *
 * @param {Shares} shares
 */
function sure(shares) {
  const [name, , text] = shares.reduce((best, share) => (share[1] > best[1] ? share : best));
  return `${name} ${text}`;
}
