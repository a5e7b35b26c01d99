// The list of takes: a row each, with what goes on.

import { clock } from "./player.js";
import { STATES } from "./queue.js";
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
    find(".again").hidden = !retriable(take);
    find(".away").hidden = take.state === "recording";
    find(".again").setAttribute("aria-label", `Retry ${take.name}`);
    find(".away").setAttribute("aria-label", `${pending(take) ? "Cancel" : "Remove"} ${take.name}`);
    find(".away").title = pending(take) ? "Cancel" : "Remove";
  }

  #away(take) {
    if (pending(take)) this.queue.cancel(take);
    else this.removed(take);
  }
}

export const retriable = (take) => ["failed", "cancelled"].includes(take.state);
const pending = (take) => ["waiting", "uploading", "transcribing"].includes(take.state);

/** A bar that shows how much was sent, and moves while nobody knows how much is left. */
export function progress(bar, take) {
  bar.hidden = !pending(take) || take.state === "waiting";
  if (take.state === "uploading") bar.value = take.sent;
  else bar.removeAttribute("value");
}

/** The state in few words. */
export function summary(take) {
  if (take.state === "uploading") return `Uploading, ${Math.round(take.sent * 100)} %`;
  if (take.state === "done") return `${clock(take.result.duration)} · ${counted(tokens(take.text).length, "word")}`;
  if (take.retryAt) return `Busy: tries again in ${secondsLeft(take)} s`;
  if (take.state === "failed") return `Failed: ${take.error.message}`;
  if (take.state === "recording") return `Recording, ${clock(take.live.seconds)}`;
  return `${STATES[take.state]}${take.state === "transcribing" ? "…" : ""}`;
}

export const secondsLeft = (take) => Math.max(0, Math.ceil((take.retryAt - Date.now()) / 1000));
export const counted = (number, thing) => `${number} ${thing}${number === 1 ? "" : "s"}`;
