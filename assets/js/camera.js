// The visitor's camera: Gradio's video element with its frames, and what to say where there is none.

/** @type {Record<string, string>} */
const REASONS = {
  NotFoundError: "No camera was found: plug one in and try again.",
  NotAllowedError: "The browser may not use the camera: allow it with the icon left of the address, and try again.",
  NotReadableError: "Another program uses the camera: close it and try again.",
  OverconstrainedError: "The camera has no picture of the wanted size: try another camera.",
};
const INSECURE = "The browser gives no camera to this page: open it on https or on localhost.";
const LOOK_MS = 200; // between two looks at whether the camera is on

/**
 * Says in an element why a camera cannot be opened, where Gradio is silent.
 *
 * @param {HTMLElement} place
 */
export function tellProblems(place) {
  const devices = navigator.mediaDevices;
  if (!devices) {
    document.addEventListener("click", ({ target }) => {
      if (target instanceof Element && target.closest("#webcam-input")) place.textContent = INSECURE;
    });
    return;
  }
  const open = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (wanted) => {
    try {
      const stream = await open(wanted);
      place.textContent = "";
      return stream;
    } catch (error) {
      const { name, message } = /** @type {Error} */ (error);
      place.textContent = REASONS[name] ?? `The camera cannot be opened (${message}): try again.`;
      throw error;
    }
  };
}

/**
 * @typedef {object} Listener
 * @property {(video: HTMLVideoElement) => void} found another video element is there
 * @property {(now: number, takenAt: number, mediaTime?: number) => void} frame a frame is on show: times in ms
 * @property {() => void} stopped the camera does not run
 */

/** Follows the camera's video element, which Gradio makes and removes as it likes. */
export class Camera {
  /** @type {HTMLVideoElement | null} */
  #video = null;
  #listener;
  #grabbed = document.createElement("canvas");
  #pen = /** @type {CanvasRenderingContext2D} */ (this.#grabbed.getContext("2d", { willReadFrequently: true }));

  /** @param {Listener} listener */
  constructor(listener) {
    this.#listener = listener;
    setInterval(() => this.#look(), LOOK_MS);
  }

  /** Whether frames come and are seen. */
  get running() {
    const video = this.#video;
    const button = document.querySelector('#webcam-input [title="stop recording"]');
    return Boolean(video?.videoWidth && video.offsetParent && button);
  }

  #look() {
    /** @type {HTMLVideoElement | null} */
    const found = document.querySelector("#webcam-input video");
    if (found && found !== this.#video) {
      this.#video = found;
      this.#listener.found(found);
      this.#next(found);
    }
    if (!this.running) this.#listener.stopped();
  }

  /** @param {HTMLVideoElement} of */
  #next(of) {
    /** @type {(now: number, frame: Partial<VideoFrameCallbackMetadata>) => void} */
    const onFrame = (now, frame) => {
      // Another element has a loop of its own.
      if (of !== this.#video) return;
      this.#next(of);
      if (this.running) this.#listener.frame(now, frame.captureTime ?? now, frame.mediaTime);
    };
    // Not in every browser.
    if ("requestVideoFrameCallback" in of) of.requestVideoFrameCallback(onFrame);
    else requestAnimationFrame((now) => onFrame(now, {}));
  }

  /**
   * Returns the picture that is on show, as it is shown: mirrored where the visitor sees a mirror.
   *
   * @param {number} longest side in pixels that it may have
   * @returns {HTMLCanvasElement} the same one each time
   */
  grab(longest = Infinity) {
    const video = /** @type {HTMLVideoElement} */ (this.#video);
    const canvas = this.#grabbed;
    const scale = Math.min(1, longest / Math.max(video.videoWidth, video.videoHeight));
    const [width, height] = [video.videoWidth, video.videoHeight].map((side) => Math.round(side * scale));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const flip = video.classList.contains("flip");
    this.#pen.setTransform(flip ? -1 : 1, 0, 0, 1, flip ? width : 0, 0);
    this.#pen.drawImage(video, 0, 0, width, height);
    return canvas;
  }
}
