// Speech while it is recorded: kept as a file, and sent to the service, which answers with what it understands.

import { openMicrophone, wavFile } from "./microphone.js";
import { apiKey, deferred, streamAddress } from "./service.js";
import { peak } from "./waveform.js";

const PATIENCE_MS = 20000; // without a word after the end; then the recording is sent as a file

/** Fires `change` as sound and words come. */
export class Recording extends EventTarget {
  #blocks = [];
  #sent = 0; // blocks
  #socket = null;
  #ready = false;
  #model = "";
  #finished = deferred(); // with whether all was understood
  #patience = 0; // the timer
  #microphone;
  lines = []; // {text, words}, which stay
  partial = ""; // what is understood of the line that is spoken
  peaks = [];
  samples = 0;
  hint = "Listening…"; // while there is no text

  /** Ask for the microphone, and begin. */
  async begin(model) {
    this.#microphone = await openMicrophone((samples) => this.#heard(samples));
    this.#connect({
      type: "start",
      model,
      sample_rate: this.#microphone.sampleRate,
      format: "pcm_s16le",
      api_key: apiKey.get() || undefined,
    });
  }

  get seconds() {
    return this.samples / (this.#microphone?.sampleRate ?? 1);
  }

  get text() {
    return this.lines.map((line) => line.text).filter(Boolean).join(" ");
  }

  /** The recording as a file, and what was understood of it, or null where the service did not hear it to its end. */
  async end(name) {
    await this.#microphone.close();
    const file = wavFile(this.#blocks, this.#microphone.sampleRate, name);
    if (this.#ready) this.#socket.send(JSON.stringify({ type: "end" }));
    else this.#finished.resolve(false);
    this.#wait();
    const understood = await this.#finished.promise;
    clearTimeout(this.#patience);
    this.#socket.close();
    const words = this.lines.flatMap((line) => line.words ?? []);
    return { file, result: understood ? { text: this.text, words, duration: this.seconds, model: this.#model } : null };
  }

  #wait() {
    clearTimeout(this.#patience);
    this.#patience = setTimeout(() => this.#finished.resolve(false), PATIENCE_MS);
  }

  #heard(samples) {
    this.#blocks.push(samples);
    this.samples += samples.length;
    this.peaks.push(peak(samples) / 32768);
    this.#send();
    this.dispatchEvent(new Event("change"));
  }

  /** Send what was not sent, once the service listens. */
  #send() {
    while (this.#ready && this.#sent < this.#blocks.length) this.#socket.send(this.#blocks[this.#sent++]);
  }

  #connect(start) {
    this.#socket = new WebSocket(streamAddress());
    this.#socket.onopen = () => this.#socket.send(JSON.stringify(start));
    this.#socket.onmessage = ({ data }) => this.#told(JSON.parse(data));
    this.#socket.onclose = () => this.#lost();
  }

  #told(message) {
    if (this.#patience) this.#wait();
    if (message.type === "ready") {
      this.#ready = true;
      this.#model = message.model;
      this.#send();
    } else if (message.type === "partial") {
      this.partial = message.text;
    } else if (message.type === "final") {
      this.lines.push(message);
      this.partial = "";
    } else if (message.type === "done") {
      this.#finished.resolve(true);
    } else if (message.type === "error") {
      this.#lost();
    }
    this.dispatchEvent(new Event("change"));
  }

  #lost() {
    this.#ready = false;
    this.hint = "The service does not write while you speak. The text comes when you stop.";
    this.#finished.resolve(false);
  }
}

/** `Recording 2026-11-26 04.10.33.wav`, which every file system takes. */
export function recordingName(date) {
  const two = (number) => String(number).padStart(2, "0");
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `Recording ${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(".")}.wav`;
}
