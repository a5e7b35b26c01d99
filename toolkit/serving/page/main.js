// The page: what the parts do for one another.

import { offerDownloads } from "./downloads.js";
import { TakeList, progress, secondsLeft, summary, wordCount } from "./list.js";
import { Player } from "./player.js";
import { Queue, Take } from "./queue.js";
import { Recording, recordingName } from "./recording.js";
import { ServiceError, apiKey, listModels } from "./service.js";
import { TranscriptView, described } from "./transcript.js";

const find = (id) => document.getElementById(id);
const queue = new Queue();
const player = new Player(find("player"));
const transcript = new TranscriptView(find("transcript"));
const list = new TakeList(find("takes"), find("row"), { queue, opened: open, removed: remove });
let current = null; // the take that is shown
let recording = null; // the take that is recorded

// ---- what is shown ----

function open(take) {
  current = take;
  transcript.hide();
  find("word").textContent = "";
  render();
  if (take && matchMedia("(max-width: 50rem)").matches) find("work").scrollIntoView();
}

function remove(take) {
  const { takes } = queue;
  const neighbour = takes[takes.indexOf(take) + 1] ?? takes[takes.indexOf(take) - 1] ?? null;
  if (take === current) open(neighbour);
  queue.remove(take);
  if (neighbour) list.focus(neighbour);
  else find("choose").focus();
}

function render() {
  document.body.toggleAttribute("data-empty", !queue.takes.length);
  list.render(current);
  find("record").setAttribute("aria-pressed", String(Boolean(recording)));
  find("record").lastElementChild.textContent = recording ? "Stop" : "Record";
  find("work").hidden = !current;
  if (current) renderWork(current);
  else player.hide();
}

function renderWork(take) {
  find("work").dataset.state = take.state;
  find("name").textContent = take.name;
  find("facts").textContent = [summary(take), take.result?.model].filter(Boolean).join(" · ");
  find("facts").hidden = !["done", "recording"].includes(take.state);
  find("again").hidden = take.state !== "done" || find("model").value === take.result.model;
  find("again").textContent = `Transcribe with ${find("model").value}`;
  player.show(take);
  renderLive(take);
  renderNotice(take);
  find("result").hidden = take.state !== "done";
  if (take.state !== "done") transcript.hide();
  else if (transcript.take !== take) transcript.show(take);
  if (take.state === "done") renderTools(take);
}

function renderLive(take) {
  const live = find("live");
  live.hidden = take.state !== "recording";
  if (live.hidden) return;
  const [final, partial] = live.children;
  const { text, hint } = take.live;
  if (final.textContent !== text) final.textContent = text; // what is set is read aloud
  partial.textContent = (text && " ") + (take.live.partial || (text ? "" : hint));
  player.redraw();
}

function renderNotice(take) {
  find("notice").hidden = ["done", "recording"].includes(take.state);
  find("retry").hidden = !take.retriable;
  progress(find("notice").querySelector("progress"), take);
  const again = take.retryAt ? ` It is asked again in ${secondsLeft(take)} s.` : "";
  const [reason, detail] = find("notice").children;
  reason.textContent = take.state === "failed" ? take.error.message + again : summary(take);
  detail.textContent = take.error?.detail ?? "";
}

function renderTools(take) {
  const { unsure } = transcript;
  find("edit").setAttribute("aria-pressed", String(transcript.editing));
  find("edit").textContent = transcript.editing ? "Done" : "Edit";
  find("undo").disabled = !take.undone.past.length;
  find("redo").disabled = !take.undone.future.length;
  find("next").hidden = !unsure;
  find("next").textContent = `Next unsure (${unsure})`;
}

// ---- files ----

function add(files) {
  const takes = [...files].map((file) => queue.add(new Take(file.name, { file })));
  if (takes.length && !recording) open(takes[0]);
}

find("choose").addEventListener("click", () => find("files").click());
find("files").addEventListener("change", ({ target }) => {
  add(target.files);
  target.value = ""; // so that the same file can be chosen again
});
for (const type of ["dragenter", "dragover"]) {
  addEventListener(type, (event) => {
    event.preventDefault();
    document.body.toggleAttribute("data-dropping", true);
  });
}
addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.removeAttribute("data-dropping");
});
addEventListener("drop", (event) => {
  event.preventDefault();
  document.body.removeAttribute("data-dropping");
  add(event.dataTransfer.files);
});

// ---- what happens to takes ----

queue.model = () => find("model").value;
const told = new WeakMap(); // what was last said of a take
queue.addEventListener("change", ({ detail: take }) => {
  render();
  if (!take || told.get(take) === take.state) return;
  told.set(take, take.state);
  if (take.state === "done") say(`${take.name}: ${wordCount(take)}`);
  if (take.state === "failed") say(`${take.name}: ${take.error.message}`);
  if (take.error?.status === 401) askForKey();
});
for (const id of ["retry", "again"]) find(id).addEventListener("click", () => queue.send(current));
find("model").addEventListener("change", render);
addEventListener("beforeunload", (event) => {
  const edited = queue.takes.some((take) => take.undone.past.length);
  if (queue.pending || edited) event.preventDefault();
});

function say(text) {
  find("said").textContent = text;
}

// ---- recording ----

find("record").addEventListener("click", () => (recording ? stop() : record()));
find("stop").addEventListener("click", stop);

async function record() {
  const live = new Recording();
  find("record").disabled = true;
  try {
    await live.begin(queue.model());
    trouble("");
  } catch (error) {
    return trouble(error.message);
  } finally {
    find("record").disabled = false;
  }
  recording = new Take(recordingName(new Date()), { state: "recording" });
  Object.assign(recording, { live, peaks: live.peaks });
  live.addEventListener("change", () => current?.live === live && render());
  open(queue.add(recording));
}

async function stop() {
  const take = recording;
  recording = null;
  Object.assign(take, { state: "transcribing", peaks: null });
  queue.changed(take);
  const { file, result } = await take.live.end(take.name);
  take.file = file;
  if (take.state === "transcribing" && result) take.finish(result);
  else if (take.state !== "cancelled") return queue.send(take);
  queue.changed(take);
}

// ---- playing and editing ----

player.addEventListener("time", () => {
  if (!transcript.take) return;
  const word = transcript.light(player.time);
  player.light(word);
  if (word && !player.audio.paused && !transcript.editing) keepInSight(word);
});
transcript.addEventListener("seek", ({ detail: word }) => {
  player.seek(word.start);
  keepInSight(word);
});
transcript.addEventListener("edit", () => transcript.take && render());
transcript.addEventListener("word", ({ detail }) => (find("word").textContent = detail ? described(detail) : ""));
find("edit").addEventListener("click", () => (transcript.editing = !transcript.editing));
find("undo").addEventListener("click", () => transcript.undo());
find("redo").addEventListener("click", () => transcript.redo());
find("next").addEventListener("click", () => transcript.nextDoubtful());

/** Scroll so that a word is between the player, which stays above the text, and the end of the window. */
function keepInSight(word) {
  const { top, bottom } = transcript.box(word);
  const above = find("player").getBoundingClientRect().bottom;
  if (top >= above && bottom <= innerHeight) return;
  const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "instant" : "smooth";
  scrollBy({ top: top - above - innerHeight / 4, behavior });
}

addEventListener("keydown", (event) => {
  const { key, target } = event;
  if (!current || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (target === transcript.element && transcript.editing) {
    if (key === "Escape") transcript.editing = false;
  } else if (key === " " && !target.closest("button, input, select")) {
    event.preventDefault();
    player.toggle();
  } else if (["ArrowLeft", "ArrowRight"].includes(key) && !target.closest("input, select")) {
    player.pressed(event);
  }
});

// ---- downloads ----

offerDownloads(find("downloads"), () => {
  const { file, name, text, result } = current;
  return { file, transcript: { ...result, text: text.trim(), words: transcript.words, file: name } };
});
find("copy").hidden = !navigator.clipboard;
find("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText(current.text);
  say("Copied");
});

// ---- the service ----

function trouble(message) {
  find("trouble").textContent = message;
  find("trouble").hidden = !message;
}

function askForKey() {
  find("key-form").hidden = false;
  find("key").focus();
}

find("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  apiKey.set(find("key").value);
  find("key-form").hidden = true;
  for (const take of queue.takes) if (take.error?.status === 401) queue.send(take);
  meet();
});

/** Ask what models there are. */
async function meet() {
  try {
    const names = await listModels();
    find("model").replaceChildren(...names.map((name) => new Option(name)));
    find("models").hidden = names.length < 2;
    trouble("");
  } catch (error) {
    if (!(error instanceof ServiceError)) throw error;
    if (error.status === 401) askForKey();
    else trouble(error.message);
  }
}

meet();
render();
