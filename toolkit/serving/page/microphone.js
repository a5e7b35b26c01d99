// The microphone, as 16-bit samples and as a file.

import { deferred, unreachable } from "./service.js";

const RATE = 16000; // what models hear; a browser that cannot resample gives its own

const REASONS = {
  NotAllowedError: "The browser does not let this page hear the microphone. Allow it beside the address; try again.",
  NotFoundError: "There is no microphone.",
  NotReadableError: "The microphone is used by another program.",
};

/** Opens the microphone and calls with each block of samples; answers with `{sampleRate, close}`. */
export async function openMicrophone(onSamples) {
  if (!navigator.mediaDevices) {
    throw new Error("Browsers give the microphone only to pages served over https, or from localhost.");
  }
  const audio = { channelCount: 1, echoCancellation: false, noiseSuppression: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio }).catch((error) => {
    throw new Error(REASONS[error.name] ?? `The microphone cannot be opened: ${error.message}`);
  });
  const [context, source] = listening(stream);
  const release = () => {
    for (const track of stream.getTracks()) track.stop();
    return context.close();
  };
  await context.audioWorklet.addModule(new URL("pcm-worklet.js", import.meta.url)).catch(() => {
    release();
    throw unreachable();
  });
  const mono = { channelCount: 1, channelCountMode: "explicit", numberOfOutputs: 0 };
  const worklet = new AudioWorkletNode(context, "pcm", mono);
  const { promise: emptied, resolve } = deferred();
  worklet.port.onmessage = ({ data: { samples, last } }) => {
    onSamples(samples);
    if (last) resolve();
  };
  source.connect(worklet);
  const close = async () => {
    worklet.port.postMessage("empty");
    await emptied;
    await release();
  };
  return { sampleRate: context.sampleRate, close };
}

function listening(stream) {
  try {
    const context = new AudioContext({ sampleRate: RATE });
    return [context, context.createMediaStreamSource(stream)];
  } catch {
    const context = new AudioContext();
    return [context, context.createMediaStreamSource(stream)];
  }
}

/** A wav file of blocks of 16-bit mono samples. */
export function wavFile(blocks, sampleRate, name) {
  const bytes = blocks.reduce((sum, block) => sum + block.byteLength, 0);
  const header = new DataView(new ArrayBuffer(44));
  const write = (at, text) => [...text].forEach((letter, k) => header.setUint8(at + k, letter.charCodeAt(0)));
  write(0, "RIFF");
  header.setUint32(4, 36 + bytes, true);
  write(8, "WAVEfmt ");
  header.setUint32(16, 16, true); // bytes of this description
  header.setUint16(20, 1, true); // PCM
  header.setUint16(22, 1, true); // channel
  header.setUint32(24, sampleRate, true);
  header.setUint32(28, sampleRate * 2, true); // bytes a second
  header.setUint16(32, 2, true); // bytes a frame
  header.setUint16(34, 16, true); // bits a sample
  write(36, "data");
  header.setUint32(40, bytes, true);
  return new File([header, ...blocks], name, { type: "audio/wav" });
}
