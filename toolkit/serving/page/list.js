// The list of takes: a row each, with what goes on.

import { clock } from "./player.js";
import { tokens } from "./words.js";

/** Shows the queue in a list. `opened` and `removed` are called with the take whose row was used. */
export class TakeList {
  #rows = new Map();

  constructor(list, template, { queue, opened, removed }) {
    Object.assign(this, { list, template, queue, opened, removed });
  }

  render(open) {
    for (const [take, row] of this.#rows) {
      if (this.queue.takes.includes(take)) continue;
      row.remove();
      this.#rows.delete(take);
    }
    for (const take of this.queue.takes) this.#fill(this.#row(take), take, take === open);
  }

  focus(take) {
    this.#row(take).querySelector(".open").focus();
  }

  #row(take) {
    if (!this.#rows.has(take)) {
      const row = this.template.content.firstElementChild.cloneNode(true);
      row.querySelector(".open").addEventListener("click", () => this.opened(take));
      row.querySelector(".again").addEventListener("click", () => this.queue.send(take));
      row.querySelector(".away").addEventListener("click", () => this.#away(take));
      this.#rows.set(take, row);
      this.list.append(row);
    }
    return this.#rows.get(take);
  }

  #fill(row, take, open) {
    const find = (name) => row.querySelector(name);
    row.dataset.state = take.state;
    find(".open").setAttribute("aria-current", String(open));
    find(".name").textContent = find(".name").title = take.name;
    find(".state").textContent = summary(take);
    progress(find("progress"), take);
    find(".again").hidden = !take.retriable;
    find(".away").hidden = take.state === "recording";
    find(".again").setAttribute("aria-label", `Retry ${take.name}`);
    find(".away").setAttribute("aria-label", `${take.pending ? "Cancel" : "Remove"} ${take.name}`);
    find(".away").title = take.pending ? "Cancel" : "Remove";
  }

  #away(take) {
    if (take.pending) this.queue.cancel(take);
    else this.removed(take);
  }
}

/** A bar that shows how much was sent, and moves while nobody knows how much is left. */
export function progress(bar, take) {
  bar.hidden = !["uploading", "transcribing"].includes(take.state);
  if (take.state === "uploading") bar.value = take.sent;
  else bar.removeAttribute("value");
}

/** The state of a take in few words. */
export const summary = (take) => SUMMARIES[take.state](take);

const SUMMARIES = {
  recording: (take) => `Recording, ${clock(take.live.seconds)}`,
  waiting: () => "Waiting",
  uploading: (take) => `Uploading, ${Math.round(take.sent * 100)} %`,
  transcribing: () => "Transcribing…",
  done: (take) => `${clock(take.result.duration)} · ${wordCount(take)}`,
  failed: (take) => (take.retryAt ? `Busy: tries again in ${secondsLeft(take)} s` : `Failed: ${take.error.message}`),
  cancelled: () => "Cancelled",
};

export const secondsLeft = (take) => Math.max(0, Math.ceil((take.retryAt - Date.now()) / 1000));

/** `1 word`, `9 words`. */
export function wordCount({ text }) {
  const { length } = tokens(text);
  return `${length} word${length === 1 ? "" : "s"}`;
}
