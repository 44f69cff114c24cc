// Draws labels over the visitor's own camera picture: frames go up, answers come down, no picture does.
function faceInsightLive(element, server) {
  const MAX_SIDE = 640; // of the frames that are sent
  const QUALITY = 0.8;
  const SLOW_MS = 120; // a server that is quicker analyses one frame while the next is on its way; another would only queue
  const RETRY_MS = 2000; // after a problem
  const PATIENCE_MS = 10000; // with an answer of the server
  const STALE_MS = 2000; // labels that old are not shown
  const AHEAD_MS = 120; // how far boxes run ahead of the last answer at most
  const READ_MS = 500; // between two updates of what is read
  const SAMPLE_MS = 250; // between two samples of the timeline
  const WINDOW_MS = 30000; // of the timeline
  const [EMOTION_COLORS, OTHER_COLOR] = window.faceInsightColors; // of ui/charts.py

  const part = (name) => element.querySelector(`#webcam-${name}`);
  const hint = part("notice").innerHTML;
  const overlay = Object.assign(document.createElement("canvas"), { id: "webcam-overlay" });
  const grabbed = document.createElement("canvas");
  const grabPen = grabbed.getContext("2d", { willReadFrequently: true });
  const mosaic = Object.assign(document.createElement("canvas"), { width: 6, height: 6 });
  let video = null;
  let live = false;
  let run = 0; // counts starts: answers of an earlier run are dropped
  let recordings = 0; // counts them: a new number begins a new one
  let recording = 0; // the number of the one whose rows the server is to keep
  let note = ""; // what became of it
  let [keptRows, lostRows] = [0, 0]; // of it, by the server: as of its last answer, and forgotten
  let flying, retryAt, shownAt, answer, people, painted, delays, updates, samples, chosen, readAt;

  const settings = () => window.faceInsightSettings;
  const blurred = () => settings()[4];
  const running = () =>
    Boolean(video?.videoWidth && video.offsetParent && document.querySelector('#webcam-input [title="stop recording"]'));
  const colorOf = (emotion) => EMOTION_COLORS[emotion] ?? OTHER_COLOR;
  const recent = (times, now, ms) => {
    while (times.length && times[0].at < now - ms) times.shift();
    return times;
  };

  function begin() {
    live = true;
    run += 1;
    flying = 0;
    retryAt = shownAt = readAt = 0;
    answer = chosen = null;
    people = new Map();
    [painted, delays, updates, samples] = [[], [], [], []];
    part("snapshot").disabled = false;
    part("notice").textContent = "Starting…";
  }

  function end() {
    live = false;
    run += 1;
    answer = null;
    overlay.width = overlay.width; // clears it
    part("snapshot").disabled = true;
    part("figures").hidden = true;
    part("notice").innerHTML = hint;
    part("bars").replaceChildren();
    part("without").textContent = "";
    part("mood").hidden = false;
    part("who").textContent = "Emotion";
    part("timeline").width = part("timeline").width;
    document.querySelector("#webcam-table tbody").replaceChildren();
  }

  // Gradio makes and removes the video element as it likes.
  setInterval(() => {
    const found = document.querySelector("#webcam-input video");
    if (found && found !== video) {
      video = found;
      video.after(overlay);
      video.addEventListener("click", choose);
      nextFrame(video);
    }
    if (live && !running()) end();
  }, 200);

  function nextFrame(of) {
    if (of.requestVideoFrameCallback) of.requestVideoFrameCallback((now, frame) => onFrame(of, now, frame));
    else requestAnimationFrame((now) => onFrame(of, now, {}));
  }

  function onFrame(of, now, frame) {
    // Another element has a loop of its own.
    if (of !== video) return;
    nextFrame(of);
    if (!running() || !settings()) return;
    if (!live) begin();
    shownAt = frame.captureTime ?? now;
    if (flying < (answer?.ms < SLOW_MS ? 2 : 1) && now >= retryAt) send(shownAt, frame.mediaTime);
    if (paint(now)) painted.push({ at: now });
    if (now >= readAt) {
      readAt = now + READ_MS;
      read(now);
    }
  }

  function grab(longest) {
    const scale = Math.min(1, longest / Math.max(video.videoWidth, video.videoHeight));
    const [width, height] = [video.videoWidth, video.videoHeight].map((side) => Math.round(side * scale));
    if (grabbed.width !== width || grabbed.height !== height) Object.assign(grabbed, { width, height });
    const flip = video.classList.contains("flip");
    grabPen.setTransform(flip ? -1 : 1, 0, 0, 1, flip ? width : 0, 0);
    grabPen.drawImage(video, 0, 0, width, height);
    return grabbed;
  }

  function copy(picture) {
    const still = Object.assign(document.createElement("canvas"), { width: picture.width, height: picture.height });
    still.getContext("2d").drawImage(picture, 0, 0);
    return still;
  }

  // The server's answer; nothing where none comes.
  async function ask(call, data) {
    let timer;
    const late = new Promise((done) => (timer = setTimeout(done, PATIENCE_MS)));
    try {
      return await Promise.race([call(data), late]);
    } catch {
      return undefined;
    } finally {
      clearTimeout(timer);
    }
  }

  async function send(takenAt, mediaTime) {
    const frame = grab(MAX_SIDE);
    const picture = frame.toDataURL("image/jpeg", QUALITY).split(",")[1];
    const still = blurred() ? copy(frame) : null;
    const mine = run;
    flying += 1;
    const data = { picture, time: takenAt / 1000, settings: settings(), record: recording };
    const result = await ask(server.live_frame, data);
    if (mine !== run) return;
    flying -= 1;
    const now = performance.now();
    const problem = result ? result.problem : "The server does not answer: wait, or reload the page.";
    if (problem) {
      retryAt = now + RETRY_MS;
      answer = null;
      part("notice").textContent = `⚠️ ${problem}`;
      return;
    }
    if (result.late || takenAt <= answer?.takenAt) return;
    take({ ...result, takenAt, still, record: data.record });
    requestAnimationFrame((painting) => {
      if (mine !== run) return;
      paint(painting);
      const at = performance.now();
      updates.push({ at });
      delays.push({ at, ms: at - takenAt });
      element.dispatchEvent(new CustomEvent("labels", { detail: { at, takenAt, mediaTime } }));
    });
  }

  function take(result) {
    const { takenAt } = result;
    const seconds = answer ? (takenAt - answer.takenAt) / 1000 : 0;
    const before = people;
    people = new Map();
    for (const face of result.faces) {
      const key = face.id || Symbol("nobody yet");
      const old = before.get(key);
      const speed = face.box.map((side, n) =>
        old && seconds > 0 ? 0.5 * old.speed[n] + 0.5 * ((side - old.face.box[n]) / seconds) : 0,
      );
      people.set(key, { face, speed, shown: old?.shown ?? face.box });
    }
    if (recording && result.record === recording) {
      if (result.rows < keptRows) lostRows += keptRows;
      keptRows = result.rows;
    }
    answer = result;
    if (result.faces.some((face) => face.emotion) && !(samples.at(-1)?.at > takenAt - SAMPLE_MS)) {
      const emotions = new Map(result.faces.map((face) => [face.id, face.emotion]));
      recent(samples, takenAt, WINDOW_MS).push({ at: takenAt, emotions });
    }
  }

  // Moves every box on to the picture that is on show: along its speed, softly.
  function move() {
    const ahead = Math.min(Math.max(shownAt - answer.takenAt, 0), AHEAD_MS) / 1000;
    for (const person of people.values()) {
      const width = person.face.box[2] - person.face.box[0];
      // A face at rest has only the noise of the detector for a speed.
      const sure = Math.min(1, Math.hypot(...person.speed) / width);
      const aim = person.face.box.map((side, n) => side + person.speed[n] * ahead * sure);
      person.shown = person.shown.map((side, n) => side + 0.7 * (aim[n] - side));
    }
  }

  function paint(now) {
    const [wide, high] = [overlay.clientWidth, overlay.clientHeight];
    const density = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(wide * density), Math.round(high * density)];
    if (overlay.width !== width || overlay.height !== height) Object.assign(overlay, { width, height });
    const scale = Math.min(width / video.videoWidth, height / video.videoHeight);
    const pen = overlay.getContext("2d");
    pen.setTransform(1, 0, 0, 1, 0, 0);
    pen.clearRect(0, 0, width, height);
    const [left, top] = [(width - video.videoWidth * scale) / 2, (height - video.videoHeight * scale) / 2];
    pen.setTransform(scale, 0, 0, scale, left, top);
    const fresh = answer && now - answer.takenAt < STALE_MS;
    if (fresh) move();
    draw(pen, video.videoWidth, video.videoHeight, fresh);
    return fresh;
  }

  // Draws in pixels of the camera's picture, as faceinsight/drawing.py does.
  function draw(pen, width, height, fresh) {
    // Blurred faces are those of the very frame that was analysed: over the live picture they would lag behind.
    const hidden = blurred();
    if (hidden && !(fresh && answer.still)) pixelate(pen, video, [0, 0, video.videoWidth, video.videoHeight], [0, 0, width, height]);
    if (!fresh || (hidden && !answer.still)) return;
    const scale = width / answer.size[0];
    const text = Math.min(Math.max(Math.min(width, height) / 28, 11), 48);
    const line = Math.max(Math.round(text / 8), 1);
    const faces = [...people.values()].map(({ face, shown }) => ({
      face,
      box: (hidden ? face.box : shown).map((side) => side * scale),
    }));
    if (hidden) {
      pen.drawImage(answer.still, 0, 0, width, height);
      for (const { face: { box: [x1, y1, x2, y2] } } of faces) {
        const more = 0.1 * Math.max(x2 - x1, y2 - y1);
        const [left, top] = [Math.max(x1 - more, 0), Math.max(y1 - more, 0)];
        const area = [left, top, Math.min(x2 + more, answer.size[0]) - left, Math.min(y2 + more, answer.size[1]) - top];
        pixelate(pen, answer.still, area, area.map((side) => side * scale));
      }
    }
    for (const { face, box: [x1, y1, x2, y2] } of faces) {
      pen.lineWidth = line;
      pen.strokeStyle = face.color;
      pen.strokeRect(x1, y1, x2 - x1, y2 - y1);
    }
    pen.font = `${text}px system-ui, sans-serif`;
    pen.textBaseline = "top";
    const pad = text / 4;
    const row = text * 1.2;
    for (const { face, box } of faces.reverse()) {
      if (!face.lines.length) continue;
      const wide = Math.max(...face.lines.map((words) => pen.measureText(words).width)) + 2 * pad;
      const high = row * face.lines.length + pad;
      const above = box[1] - high - line / 2;
      const top = Math.min(Math.max(above < 0 ? box[1] + line : above, 0), height - high);
      const left = Math.min(Math.max(box[0] - line / 2, 0), width - wide);
      pen.fillStyle = face.color;
      pen.fillRect(left, top, wide, high);
      pen.fillStyle = "rgb(16 20 28)";
      face.lines.forEach((words, n) => pen.fillText(words, left + pad, top + pad + n * row));
    }
  }

  // A mosaic of six cells across, then smoothed: what it averages away is gone.
  function pixelate(pen, source, from, to) {
    if (from[2] < 1 || from[3] < 1) return;
    const small = mosaic.getContext("2d");
    small.imageSmoothingQuality = "high";
    small.drawImage(source, ...from, 0, 0, 6, 6);
    pen.drawImage(mosaic, 0, 0, 6, 6, ...to);
  }

  // The chosen person, else the largest face.
  function focus() {
    const faces = answer?.faces ?? [];
    const area = ({ box: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
    return faces.find((face) => face.id && face.id === chosen) ?? [...faces].sort((a, b) => area(b) - area(a))[0];
  }

  function choose(event) {
    if (!live || !answer) return;
    const area = overlay.getBoundingClientRect();
    const scale = Math.min(area.width / video.videoWidth, area.height / video.videoHeight);
    const at = [
      (event.clientX - area.left - (area.width - video.videoWidth * scale) / 2) / scale,
      (event.clientY - area.top - (area.height - video.videoHeight * scale) / 2) / scale,
    ].map((side) => (side * answer.size[0]) / video.videoWidth);
    const hit = [...people.values()].find(
      ({ shown: [x1, y1, x2, y2] }) => x1 <= at[0] && at[0] <= x2 && y1 <= at[1] && at[1] <= y2,
    );
    chosen = hit?.face.id ?? null;
    readAt = 0;
  }

  // What is read rather than looked at.
  function read(now) {
    if (!answer) return;
    const count = answer.faces.length;
    part("notice").innerHTML = `<strong>${count === 1 ? "1 face" : `${count} faces`}</strong>`;
    const perSecond = (times) => {
      const span = Math.min(2000, now - times[0]?.at);
      return span > 500 ? Math.round((1000 * (recent(times, now, 2000).length - 1)) / span) : "–";
    };
    const sorted = recent(delays, now, 2000).map(({ ms }) => ms).sort((a, b) => a - b);
    part("fps").textContent = perSecond(blurred() ? updates : painted);
    part("updates").textContent = perSecond(updates);
    part("latency").textContent = sorted.length ? Math.round(sorted[sorted.length >> 1]) : "–";
    part("figures").hidden = false;
    if (recording && !note && answer.rows !== undefined) {
      const lost = lostRows ? `; the server forgot the ${lostRows} before` : "";
      part("rows").textContent = `· ${answer.full ? `full at ${answer.rows} rows: untick to download` : `${answer.rows} rows`}${lost}`;
    }
    const rows = answer.faces.map((face) => {
      const row = document.createElement("tr");
      row.append(...face.cells.map((text) => Object.assign(document.createElement("td"), { textContent: text })));
      return row;
    });
    document.querySelector("#webcam-table tbody").replaceChildren(...rows);
    part("without").textContent = answer.without;
    part("mood").hidden = Boolean(answer.without);
    if (answer.without) return;
    const face = focus();
    const which = face?.id && face.id === chosen ? "chosen" : "largest face";
    part("who").textContent = face ? `Emotion${face.id ? ` of #${face.id}` : ""} (${which})` : "Emotion";
    bars(face?.emotion ?? []);
    timeline(face?.id);
  }

  function bars(emotion) {
    const place = part("bars");
    if (place.children.length !== emotion.length) {
      place.innerHTML = emotion.map(() => "<div><span></span><i><b></b></i><output></output></div>").join("");
    }
    emotion.forEach(([name, share, text], n) => {
      const [label, bar, value] = place.children[n].children;
      label.textContent = name;
      bar.firstChild.style.cssText = `width: ${100 * share}%; background: ${colorOf(name)}`;
      value.textContent = text;
    });
  }

  // Shares of the emotions over time, stacked, in the colours of the bars.
  function timeline(id) {
    const canvas = part("timeline");
    Object.assign(canvas, { width: canvas.clientWidth, height: canvas.clientHeight });
    const pen = canvas.getContext("2d");
    // In whole pixels: between columns that share one, the background would show.
    const column = (at) => Math.round(canvas.width * (1 - (answer.takenAt - at) / WINDOW_MS));
    samples.forEach(({ at, emotions }, index) => {
      const left = column(at);
      const wide = column(Math.min(samples[index + 1]?.at ?? answer.takenAt, at + STALE_MS)) - left;
      let bottom = canvas.height;
      (emotions.get(id) ?? []).forEach(([name, share]) => {
        pen.fillStyle = colorOf(name);
        pen.fillRect(left, bottom - share * canvas.height, wide, share * canvas.height);
        bottom -= share * canvas.height;
      });
    });
  }

  function download(content, name) {
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(content), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  part("snapshot").addEventListener("click", () => {
    const picture = grab(Infinity);
    grabPen.setTransform(1, 0, 0, 1, 0, 0);
    draw(grabPen, picture.width, picture.height, Boolean(answer));
    picture.toBlob((content) => download(content, "webcam-faces.jpg"), "image/jpeg", 0.92);
  });

  function say(words) {
    note = words;
    part("rows").textContent = words;
  }

  part("record").addEventListener("change", async ({ target }) => {
    say("");
    if (target.checked) {
      // After an answer that was lost, the same one goes on.
      if (!recording) [recording, keptRows, lostRows] = [(recordings += 1), 0, 0];
      return;
    }
    target.disabled = true;
    // Until the rows are here, frames go on to ask the server to keep them.
    const result = await ask(server.live_record, recording);
    target.disabled = false;
    target.checked = !result;
    if (!result) return say("· the server does not answer: untick again");
    recording = 0;
    if (!result.rows) return say("· nothing was recorded");
    say("");
    download(new Blob([result.csv], { type: "text/csv" }), "webcam-faces.csv");
  });
}
