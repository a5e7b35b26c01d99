// The takes: files and recordings, from when they were added to their transcripts. Two are sent at a time.

import { ServiceError, transcribe } from "./service.js";
import { tokens } from "./words.js";

const AT_A_TIME = 2;

/**
 * A file or a recording, and what is known of it.
 *
 * Its state is `recording`, then `waiting`, `uploading`, `transcribing`, and at last `done`, `failed` or `cancelled`.
 */
export class Take {
  constructor(name, { file = null, state = "waiting" } = {}) {
    this.name = name;
    this.file = file; // of a recording, once it has ended
    this.state = state;
    this.sent = 0; // share of the file
    this.error = null;
    this.retryAt = null; // when a busy service is asked again
    this.result = null; // {text, words, duration, model} as heard
    this.text = ""; // as edited
    this.undone = { past: [], future: [] }; // texts
    this.peaks = null; // of the waveform
  }

  get pending() {
    return ["waiting", "uploading", "transcribing"].includes(this.state);
  }

  get retriable() {
    return ["failed", "cancelled"].includes(this.state);
  }

  /** Take in what the service understood. */
  finish(result) {
    const spelled = tokens(result.text);
    const words = result.words ?? [];
    // the text may be spelled as people write, and the words as the model does
    const same = spelled.length === words.length;
    this.result = { ...result, words: words.map((word, k) => ({ ...word, text: same ? spelled[k].text : word.text })) };
    this.text = result.text;
    this.undone = { past: [], future: [] };
    this.state = "done";
  }
}

/** Fires `change` with the take in `detail`. */
export class Queue extends EventTarget {
  #running = new Map(); // take -> AbortController
  takes = [];
  model = () => "";

  get pending() {
    return this.takes.some((take) => take.pending || take.state === "recording");
  }

  add(take) {
    this.takes.push(take);
    this.changed(take);
    this.#next();
    return take;
  }

  /** Transcribe a take anew, or for the first time. */
  send(take) {
    Object.assign(take, { state: "waiting", error: null, retryAt: null, sent: 0 });
    this.changed(take);
    this.#next();
  }

  cancel(take) {
    take.retryAt = null;
    take.state = "cancelled";
    this.#running.get(take)?.abort();
    this.changed(take);
  }

  remove(take) {
    this.cancel(take);
    this.takes = this.takes.filter((other) => other !== take);
    this.dispatchEvent(new CustomEvent("change", { detail: null }));
  }

  changed(take) {
    this.dispatchEvent(new CustomEvent("change", { detail: take }));
  }

  #next() {
    for (const take of this.takes) {
      if (this.#running.size >= AT_A_TIME) return;
      if (take.state === "waiting" && take.file && !this.#running.has(take)) this.#run(take);
    }
  }

  async #run(take) {
    const control = new AbortController();
    this.#running.set(take, control);
    take.state = "uploading";
    this.changed(take);
    const onSent = (share) => {
      take.sent = share;
      if (share === 1 && take.state === "uploading") take.state = "transcribing";
      this.changed(take);
    };
    try {
      take.finish(await transcribe(take.file, { model: this.model(), onSent, signal: control.signal }));
    } catch (error) {
      if (!control.signal.aborted) this.#failed(take, error);
    }
    this.#running.delete(take);
    this.changed(take);
    this.#next();
  }

  #failed(take, error) {
    if (!(error instanceof ServiceError)) console.error(error);
    Object.assign(take, { state: "failed", error });
    if (error.retryAfter) {
      take.retryAt = Date.now() + error.retryAfter * 1000;
      this.#countDown(take, take.retryAt);
    }
  }

  /** Show the seconds until a busy service is asked again, then ask it; cancelling or asking at once ends this. */
  #countDown(take, at) {
    const timer = setInterval(() => {
      if (take.retryAt !== at) return clearInterval(timer);
      if (Date.now() < at) return this.changed(take);
      clearInterval(timer);
      return this.send(take);
    }, 250);
  }
}
