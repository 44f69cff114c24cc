// Photos of the visitor: chosen, dropped, pasted or taken, shown at once, uploaded for the server.
import { closeCamera, openCamera } from "./camera.js";

const MAX_PIXELS = 16e6; // that are unpacked of a photo

/** Gradio's: takes a file to the server. @typedef {(file: File) => Promise<{ path: string }>} Upload */

/** A photo on its way to the server. */
export class Photo {
  image = new Image();
  /** Where it lies on the server. */
  path = "";
  /** Why it is not there. */
  problem = "";
  /** Whether the browser can show it by itself. */
  shown = false;
  /** Its pixels, where they are at hand: from `image` each drawing would decode them anew. @type {ImageBitmap | null} */
  pixels = null;
  file;
  #url;
  #unpacked = "";

  /** @param {File} file */
  constructor(file) {
    this.file = file;
    this.#url = URL.createObjectURL(file);
    this.image.src = this.#url;
  }

  /** Ends when it is known whether the browser can show it; nothing is decoded for that. */
  async load() {
    const ends = (/** @type {string} */ name) => new Promise((done) => this.image.addEventListener(name, done, { once: true }));
    if (!this.image.complete) await Promise.race(["load", "error"].map(ends));
    this.shown = this.image.naturalWidth > 0;
  }

  /** What to draw parts of it from. @returns {ImageBitmap | HTMLImageElement} */
  get still() {
    return this.pixels ?? this.image;
  }

  /** Decodes it ahead of all drawing, as long as it is on the stage. */
  async unpack() {
    const image = this.image;
    const { naturalWidth: width, naturalHeight: height } = image;
    if (!width || this.#unpacked === image.src) return;
    this.#unpacked = image.src;
    const scale = Math.min(Math.sqrt(MAX_PIXELS / (width * height)), 1);
    const size = { resizeWidth: Math.round(width * scale), resizeHeight: Math.round(height * scale) };
    const pixels = await createImageBitmap(image, scale < 1 ? size : {}).catch(() => null);
    if (this.#unpacked === image.src) this.pixels = pixels;
    else pixels?.close();
  }

  /** Gives back the room that its pixels take. */
  pack() {
    this.#unpacked = "";
    this.pixels?.close();
    this.pixels = null;
  }

  /**
   * Takes it to the server.
   *
   * @param {Upload} upload
   */
  async send(upload) {
    if (this.path) return;
    try {
      this.path = (await upload(this.file)).path;
      this.problem = "";
    } catch (error) {
      const why = error instanceof Error && error.message ? error.message : "the server does not answer";
      this.problem = `${this.file.name} could not be uploaded (${why}): try again.`;
    }
  }

  forget() {
    this.pack();
    URL.revokeObjectURL(this.#url);
  }
}

/**
 * Calls back with the pictures that a visitor chooses, drops on an element, or pastes while it is on show.
 *
 * @param {HTMLElement} element
 * @param {HTMLInputElement} input of type "file"
 * @param {(files: File[]) => void} take
 */
export function onPhotos(element, input, take) {
  const some = (/** @type {FileList | undefined | null} */ list) => {
    const files = [...(list ?? [])];
    if (files.length) take(files);
    return files.length > 0;
  };
  input.addEventListener("change", () => {
    some(input.files);
    input.value = ""; // the same file may be chosen again
  });
  some(input.files); // who was quicker than this script
  input.value = "";
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.classList.add("fi-over");
  });
  for (const name of ["dragleave", "drop"]) element.addEventListener(name, () => element.classList.remove("fi-over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    some(event.dataTransfer?.files);
  });
  document.addEventListener("paste", (event) => {
    if (element.offsetParent && some(event.clipboardData?.files)) event.preventDefault();
  });
}

/** A camera that takes one photo. */
export class Snap {
  #video;
  /** @type {MediaStream | null} */
  #stream = null;

  /** @param {HTMLVideoElement} video */
  constructor(video) {
    this.#video = video;
  }

  /** Shows the camera's picture; false where there is none. */
  async open() {
    this.#stream = await openCamera({ width: { ideal: 1920 } });
    if (!this.#stream) return false;
    this.#video.srcObject = this.#stream;
    await this.#video.play();
    return true;
  }

  /** @returns {Promise<File | null>} */
  async take() {
    const canvas = Object.assign(document.createElement("canvas"), {
      width: this.#video.videoWidth,
      height: this.#video.videoHeight,
    });
    canvas.getContext("2d")?.drawImage(this.#video, 0, 0);
    /** @type {Blob | null} */
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
    return blob && new File([blob], "camera.jpg", { type: "image/jpeg" });
  }

  /** Turns the camera off. */
  close() {
    closeCamera(this.#stream);
    this.#stream = null;
    this.#video.srcObject = null;
  }
}

/**
 * Lets the buttons of examples put theirs on the stage.
 *
 * @param {HTMLElement} element
 * @param {(files: File[]) => void} take
 */
export function onExamples(element, take) {
  for (const button of /** @type {NodeListOf<HTMLButtonElement>} */ (element.querySelectorAll(".fi-examples button"))) {
    const name = button.querySelector("img")?.alt ?? "example";
    button.disabled = false;
    button.addEventListener("click", async () => {
      const answer = await fetch(button.dataset.file ?? "");
      if (!answer.ok) return;
      const content = await answer.blob();
      take([new File([content], name, { type: content.type })]);
    });
  }
}
