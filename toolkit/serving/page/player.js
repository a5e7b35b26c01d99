// Plays a take, and shows where it is: two drawings of its waveform, of which the upper one is cut off there.

import { draw, drawLatest, peaksOf } from "./waveform.js";

const [STEP_S, LEAP_S] = [2, 10]; // of the arrow keys, without and with Shift

/** Fires `time` while it plays and after each jump, and `unplayable`. */
export class Player extends EventTarget {
  #take = null;
  #address = "";

  constructor(root) {
    super();
    this.audio = new Audio();
    this.root = root;
    this.slider = root.querySelector("[role=slider]");
    this.canvases = [...root.querySelectorAll("canvas")];
    this.button = root.querySelector("button");
    this.clock = root.querySelector("output");
    this.button.addEventListener("click", () => this.toggle());
    this.slider.addEventListener("pointerdown", (event) => this.#grabbed(event));
    this.slider.addEventListener("pointermove", (event) => event.buttons && this.#grabbed(event));
    this.slider.addEventListener("keydown", (event) => this.pressed(event));
    for (const event of ["play", "pause", "ended"]) this.audio.addEventListener(event, () => this.#played());
    for (const event of ["seeked", "durationchange"]) this.audio.addEventListener(event, () => this.#shown());
    this.audio.addEventListener("error", () => this.#failed());
    new ResizeObserver(() => this.redraw()).observe(this.slider);
    addEventListener("themechange", () => this.redraw());
  }

  get time() {
    return this.audio.currentTime;
  }

  get duration() {
    const { duration } = this.audio;
    return Number.isFinite(duration) ? duration : (this.#take?.result?.duration ?? 0);
  }

  async show(take) {
    if (this.#take === take && (this.#address || !take.file)) return;
    this.hide();
    this.#take = take;
    this.redraw();
    if (!take.file) return;
    this.#address = URL.createObjectURL(take.file);
    this.audio.src = this.#address;
    this.#shown();
    take.peaks ??= await peaksOf(take.file);
    if (this.#take === take) this.redraw();
  }

  hide() {
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    URL.revokeObjectURL(this.#address);
    this.#address = "";
    this.#take = null;
    this.light(null);
    delete this.root.dataset.unplayable;
  }

  toggle() {
    if (!this.#address || "unplayable" in this.root.dataset) return;
    if (this.audio.paused) this.audio.play().catch(() => {}); // the event `error` says why
    else this.audio.pause();
  }

  seek(seconds) {
    this.audio.currentTime = Math.max(0, Math.min(this.duration, seconds));
    this.#shown();
  }

  /** Do what a key of a slider does. */
  pressed(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? LEAP_S : STEP_S;
    const [back, on] = [this.time - step, this.time + step];
    const keys = { ArrowLeft: back, ArrowDown: back, ArrowRight: on, ArrowUp: on, Home: 0, End: this.duration };
    if (!(event.key in keys)) return;
    event.preventDefault();
    this.seek(keys[event.key]);
  }

  /** Light up the part of the waveform where a word is. */
  light(word) {
    this.root.style.setProperty("--word-start", word ? word.start / this.duration : 0);
    this.root.style.setProperty("--word-end", word ? word.end / this.duration : 0);
  }

  redraw() {
    for (const canvas of this.canvases) {
      if (this.#take?.state === "recording") drawLatest(canvas, this.#take.peaks ?? []);
      else draw(canvas, this.#take?.peaks ?? new Float32Array(1));
    }
  }

  #grabbed(event) {
    this.slider.setPointerCapture(event.pointerId);
    const { left, width } = this.slider.getBoundingClientRect();
    this.seek(((event.clientX - left) / width) * this.duration);
  }

  #played() {
    const playing = !this.audio.paused;
    this.root.dataset.playing = playing;
    this.button.setAttribute("aria-label", playing ? "Pause" : "Play");
    this.#frame();
  }

  #frame() {
    this.#shown();
    if (!this.audio.paused) requestAnimationFrame(() => this.#frame());
  }

  #shown() {
    const { time, duration } = this;
    this.root.style.setProperty("--played", duration ? time / duration : 0);
    this.clock.textContent = `${clock(time)} / ${clock(duration)}`;
    this.slider.setAttribute("aria-valuemax", duration.toFixed(1));
    this.slider.setAttribute("aria-valuenow", time.toFixed(1));
    this.slider.setAttribute("aria-valuetext", `${clock(time)} of ${clock(duration)}`);
    this.dispatchEvent(new Event("time"));
  }

  #failed() {
    if (this.#address) this.root.dataset.unplayable = "";
  }
}

/** 83 s as `1:23`, 3605 s as `1:00:05`. */
export function clock(seconds) {
  const total = Math.floor(seconds);
  const [hours, minutes] = [Math.floor(total / 3600), Math.floor(total / 60) % 60];
  const rest = String(total % 60).padStart(2, "0");
  return hours ? `${hours}:${String(minutes).padStart(2, "0")}:${rest}` : `${minutes}:${rest}`;
}
