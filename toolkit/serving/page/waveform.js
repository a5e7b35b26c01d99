// The loudness of a file over time, on a canvas.

const RATE = 8000; // of the samples that are looked at: an hour is 115 MB of memory
const PEAKS = 2000; // more than a screen has bars
const MOST_BYTES = 300e6; // of a file; a larger one is played without a picture
const [BAR, GAP] = [2, 1]; // CSS pixels
const QUIET = 0.1; // of full scale: what is louder fills the height while it is recorded

/** The peaks of a file, between 0 and 1 of its loudest, or null where the browser cannot read it. */
export async function peaksOf(file) {
  if (file.size > MOST_BYTES) return null;
  try {
    const audio = await new OfflineAudioContext(1, 1, RATE).decodeAudioData(await file.arrayBuffer());
    return peaks(audio.getChannelData(0));
  } catch {
    return null;
  }
}

function peaks(samples) {
  const found = new Float32Array(Math.min(PEAKS, samples.length));
  const step = samples.length / found.length;
  for (let k = 0; k < found.length; k++) {
    found[k] = peak(samples.subarray(Math.floor(k * step), Math.ceil((k + 1) * step)));
  }
  const loudest = peak(found) || 1;
  return found.map((value) => value / loudest);
}

/** The greatest magnitude. */
export function peak(samples) {
  let most = 0;
  for (const sample of samples) most = Math.max(most, Math.abs(sample));
  return most;
}

/** Draw all peaks over the whole width, in the canvas's colour. */
export function draw(canvas, peaks) {
  bars(canvas, (count) =>
    Array.from({ length: count }, (_, k) =>
      peak(peaks.subarray(Math.floor((k * peaks.length) / count), Math.ceil(((k + 1) * peaks.length) / count))),
    ),
  );
}

/** Draw the latest peaks, a bar each. */
export function drawLatest(canvas, peaks) {
  const latest = (count) => peaks.slice(-count);
  const loudest = Math.max(QUIET, peak(latest(PEAKS)));
  bars(canvas, (count) => latest(count).map((value) => value / loudest));
}

function bars(canvas, heights) {
  const { width, height } = canvas.getBoundingClientRect();
  canvas.width = width * devicePixelRatio;
  canvas.height = height * devicePixelRatio;
  const pen = canvas.getContext("2d");
  pen.scale(devicePixelRatio, devicePixelRatio);
  pen.fillStyle = getComputedStyle(canvas).color;
  pen.beginPath();
  for (const [k, value] of heights(Math.floor(width / (BAR + GAP))).entries()) {
    const tall = Math.max(2, value ** 0.7 * height); // quiet speech shows beside loud
    pen.roundRect(k * (BAR + GAP), (height - tall) / 2, BAR, tall, BAR / 2);
  }
  pen.fill();
}
