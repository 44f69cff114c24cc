// Gradio is silent where a camera cannot be opened: this says why, below the status line.
(() => {
  const reasons = {
    NotFoundError: "No camera was found: plug one in and try again.",
    NotAllowedError:
      "The browser may not use the camera: allow it with the icon left of the address, and try again.",
    NotReadableError: "Another program uses the camera: close it and try again.",
    OverconstrainedError: "The camera has no picture of the wanted size: try another camera.",
  };
  const tell = (text) => {
    const place = document.getElementById("camera-problem");
    if (place) place.textContent = text;
  };
  const devices = navigator.mediaDevices;
  if (!devices) {
    document.addEventListener("click", (event) => {
      if (event.target.closest("#webcam-input")) {
        tell("The browser gives no camera to this page: open it on https or on localhost.");
      }
    });
    return;
  }
  const open = devices.getUserMedia.bind(devices);
  devices.getUserMedia = async (wanted) => {
    try {
      const stream = await open(wanted);
      tell("");
      return stream;
    } catch (error) {
      tell(reasons[error.name] ?? `The camera cannot be opened (${error.message}): try again.`);
      throw error;
    }
  };
})();
