// Runs beside the page: the microphone's samples as 16-bit integers, a tenth of a second at a time.

class Pcm extends AudioWorkletProcessor {
  #block = new Int16Array(Math.round(sampleRate / 10));
  #filled = 0;

  constructor() {
    super();
    this.port.onmessage = () => this.#send(true);
  }

  process([[samples]]) {
    for (const sample of samples ?? []) {
      this.#block[this.#filled++] = Math.max(-1, Math.min(1, sample)) * 32767;
      if (this.#filled === this.#block.length) this.#send(false);
    }
    return true;
  }

  #send(last) {
    const samples = this.#block.slice(0, this.#filled);
    this.#filled = 0;
    this.port.postMessage({ samples, last }, [samples.buffer]);
  }
}

registerProcessor("pcm", Pcm);
