// The visitor's camera: its frames, and what to say where there is none.

/** @type {Record<string, string>} */
const REASONS = {
  NotFoundError: "No camera was found: plug one in and try again.",
  NotAllowedError: "The browser may not use the camera: allow it with the icon left of the address, and try again.",
  NotReadableError: "Another program uses the camera: close it and try again.",
  OverconstrainedError: "The camera has no picture of the wanted size: try another camera.",
};
const INSECURE = "The browser gives no camera to this page: open it on https or on localhost.";
const AWAY_MS = 60000; // that a page may be out of sight, with its camera on

/**
 * Opens the camera; where it cannot be, the page says why.
 *
 * @param {MediaTrackConstraints} wanted
 * @returns {Promise<MediaStream | null>}
 */
export async function openCamera(wanted) {
  const place = document.getElementById("camera-problem");
  const say = (/** @type {string} */ words) => place && (place.textContent = words);
  say("");
  if (!navigator.mediaDevices) {
    say(INSECURE);
    return null;
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ video: wanted });
  } catch (error) {
    const { name, message } = /** @type {Error} */ (error);
    say(REASONS[name] ?? `The camera cannot be opened (${message}): try again.`);
    return null;
  }
}

/**
 * Turns a camera off, and its light.
 *
 * @param {MediaStream | null} stream
 */
export function closeCamera(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/**
 * @typedef {object} Listener
 * @property {(now: number, takenAt: number, mediaTime?: number) => void} frame a frame is on show: times in ms
 * @property {() => void} lost the camera went off by itself: unplugged, or nobody looks at it any more
 */

/** A camera that plays in a video element, as a mirror where it looks at the visitor. */
export class Camera {
  #video;
  #listener;
  /** @type {MediaStream | null} */
  #stream = null;
  #run = 0;
  #away = 0;
  #grabbed = document.createElement("canvas");
  #pen = /** @type {CanvasRenderingContext2D} */ (this.#grabbed.getContext("2d", { willReadFrequently: true }));

  /**
   * @param {HTMLVideoElement} video
   * @param {Listener} listener
   */
  constructor(video, listener) {
    this.#video = video;
    this.#listener = listener;
    const lost = () => this.#stream && listener.lost();
    // Without a size when its tab of the page is left.
    new ResizeObserver(() => video.offsetParent || lost()).observe(video);
    window.addEventListener("pagehide", lost);
    document.addEventListener("visibilitychange", () => {
      window.clearTimeout(this.#away);
      if (document.hidden) this.#away = window.setTimeout(lost, AWAY_MS);
    });
  }

  /** Opens it; false where that was not possible, or not wanted any more. @param {MediaTrackConstraints} wanted */
  async start(wanted) {
    const run = (this.#run += 1);
    const stream = await openCamera(wanted);
    if (!stream || run !== this.#run || !this.#video.offsetParent) {
      closeCamera(stream);
      return false;
    }
    this.#stream = stream;
    const [track] = stream.getVideoTracks();
    track.addEventListener("ended", () => run === this.#run && this.#listener.lost());
    this.#video.classList.toggle("flip", track.getSettings().facingMode !== "environment");
    this.#video.srcObject = stream;
    // Where it is stopped again meanwhile, it does not play.
    await this.#video.play().catch(() => {});
    this.#next(run);
    return run === this.#run;
  }

  stop() {
    this.#run += 1;
    closeCamera(this.#stream);
    this.#stream = this.#video.srcObject = null;
  }

  /** @param {number} run */
  #next(run) {
    /** @type {(now: number, frame: Partial<VideoFrameCallbackMetadata>) => void} */
    const onFrame = (now, frame) => {
      if (run !== this.#run) return;
      this.#next(run);
      if (this.#video.videoWidth) this.#listener.frame(now, frame.captureTime ?? now, frame.mediaTime);
    };
    // Not in every browser.
    if ("requestVideoFrameCallback" in this.#video) this.#video.requestVideoFrameCallback(onFrame);
    else requestAnimationFrame((now) => onFrame(now, {}));
  }

  /**
   * Returns the picture that is on show, as it is shown: mirrored where the visitor sees a mirror.
   *
   * @param {number} longest side in pixels that it may have
   * @returns {HTMLCanvasElement} the same one each time
   */
  grab(longest = Infinity) {
    const video = this.#video;
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
