// Buttons that save a transcript in each format, and its audio.

import { FORMATS } from "./formats.js";

const KEEP_MS = 60000; // what is saved, for the browser may still read it

/** Fill an element with the buttons; `chosen` answers with the `{file, transcript}` to save. */
export function offerDownloads(element, chosen) {
  for (const [suffix, { label, type, make }] of Object.entries(FORMATS)) {
    element.append(
      button(label, () => {
        const { transcript } = chosen();
        const name = transcript.file.replace(/(\.[^.\s]+)?$/, `.${suffix}`);
        save(new Blob([make(transcript)], { type: `${type};charset=utf-8` }), name);
      }),
    );
  }
  element.append(
    button("Audio", () => {
      const { file } = chosen();
      save(file, file.name);
    }),
  );
}

function button(label, clicked) {
  const made = Object.assign(document.createElement("button"), { type: "button", textContent: label });
  made.addEventListener("click", clicked);
  return made;
}

function save(blob, name) {
  const link = document.createElement("a");
  Object.assign(link, { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), KEEP_MS);
}
