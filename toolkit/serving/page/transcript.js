// The text of a take: its words lit up while they play, marked where they are doubtful, and edited in place.
//
// The text is one string in one element. Marks are CSS highlights, which lie over it and never change the document.

import { caretOf, placeOf, rangeOf, spotUnder, textOf } from "./places.js";
import { timedWords } from "./words.js";

/** What counts as sure. A calibrated model's words below are wrong one time in five, and one time in two. */
export const UNSURE = 0.8;
export const DOUBTFUL = 0.5;
const SETTLE_MS = 200; // after the last key before the words are compared anew
const LINGER_S = 0.4; // a word stays lit up in the pause after it: the ends of words come early

/** Fires `seek` with a word, `edit` when the text or what is known of it changed, and `word` under the caret. */
export class TranscriptView extends EventTarget {
  #take = null;
  #words = [];
  #settling = 0; // the timer
  #stroke = null; // the last input, {type, caret}
  #spoken = null;

  constructor(element) {
    super();
    this.element = element;
    element.addEventListener("click", (event) => this.#clicked(event));
    element.addEventListener("dblclick", () => (this.editing = true));
    element.addEventListener("pointermove", (event) => this.#pointed(event));
    element.addEventListener("keydown", (event) => this.#pressed(event));
    element.addEventListener("beforeinput", (event) => this.#before(event));
    element.addEventListener("input", (event) => this.#typed(event));
    document.addEventListener("selectionchange", () => this.#selected());
  }

  get take() {
    return this.#take;
  }

  /** The words with their times, as the text stands now. */
  get words() {
    this.#settle();
    return this.#words;
  }

  /** How many words are not sure. */
  get unsure() {
    return this.#words.filter((word) => word.confidence < UNSURE).length;
  }

  get editing() {
    return this.element.isContentEditable;
  }

  set editing(on) {
    this.element.contentEditable = on ? "plaintext-only" : "false";
    this.element.setAttribute("aria-readonly", String(!on));
    if (on) this.element.focus();
    this.dispatchEvent(new Event("edit"));
  }

  show(take) {
    this.#settle();
    this.#take = take;
    this.editing = false;
    this.#write(take.text);
  }

  hide() {
    this.#settle();
    this.#take = null;
    this.#words = [];
    for (const name of ["spoken", "unsure", "doubtful"]) CSS.highlights?.delete(name);
  }

  /** Light up the word that is heard at this time. */
  light(seconds) {
    const word = this.#at(seconds);
    if (word === this.#spoken) return word;
    this.#spoken = word;
    this.#mark("spoken", word ? [word] : []);
    return word;
  }

  /** The word's place on the screen. */
  box(word) {
    return this.#range(word).getBoundingClientRect();
  }

  /** Select a word. */
  select(word) {
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(this.#range(word));
  }

  /** Go to the next word that is not sure, after the caret, or else to the first one. */
  nextDoubtful() {
    const at = caretOf(this.element);
    const doubtful = this.words.filter((word) => word.confidence < UNSURE);
    const word = doubtful.find((one) => one.at > at) ?? doubtful[0];
    if (!word) return;
    this.select(word);
    this.#emit("seek", word);
  }

  undo() {
    this.#swap(this.#take.undone.past, this.#take.undone.future);
  }

  redo() {
    this.#swap(this.#take.undone.future, this.#take.undone.past);
  }

  #swap(from, to) {
    if (!from.length) return;
    const before = this.#take.text;
    to.push(before);
    this.#take.text = from.pop();
    this.#write(this.#take.text);
    const end = changeEnd(before, this.#take.text);
    if (this.editing) getSelection().collapse(this.element.firstChild ?? this.element, end);
    this.dispatchEvent(new Event("edit"));
  }

  #write(text) {
    this.#stroke = null;
    this.element.textContent = text;
    this.#compare();
  }

  /** Remember the text before a word that is typed, or whatever else is done. */
  #typed({ inputType, data }) {
    const take = this.#take;
    const stroke = { type: inputType, caret: caretOf(this.element) };
    if (!this.#goesOn(stroke) || /\s/.test(data)) take.undone.past.push(take.text);
    take.undone.future = [];
    take.text = textOf(this.element);
    this.#stroke = stroke;
    clearTimeout(this.#settling);
    this.#settling = setTimeout(() => this.#settle(), SETTLE_MS);
    this.dispatchEvent(new Event("edit"));
  }

  /** Whether it goes on with the word that was typed last, which undo takes back as one. */
  #goesOn({ type, caret }) {
    return this.#stroke?.type === type && Math.abs(this.#stroke.caret - caret) <= 1;
  }

  #settle() {
    if (!this.#settling) return;
    clearTimeout(this.#settling);
    this.#settling = 0;
    this.#compare();
    this.dispatchEvent(new Event("edit"));
  }

  #compare() {
    const { text, result } = this.#take;
    this.#words = timedWords(text, result.words, result.duration);
    this.#spoken = null;
    this.#mark("spoken", []);
    this.#mark("unsure", this.#words.filter((word) => word.confidence < UNSURE && word.confidence >= DOUBTFUL));
    this.#mark("doubtful", this.#words.filter((word) => word.confidence < DOUBTFUL));
  }

  #mark(name, words) {
    // browsers without highlights (Firefox before 140) show the text without marks
    CSS.highlights?.set(name, new Highlight(...words.map((word) => this.#range(word))));
  }

  #at(seconds) {
    const index = this.#words.findLastIndex((word) => word.start <= seconds);
    const word = this.#words[index];
    return word && seconds < word.end + LINGER_S ? word : null;
  }

  #wordAt(place) {
    return this.#words.find((word) => word.at <= place && place <= word.at + word.text.length);
  }

  #clicked({ clientX, clientY }) {
    if (!getSelection().isCollapsed) return; // somebody selects
    const word = this.#wordUnder(clientX, clientY);
    if (word) this.#emit("seek", word);
  }

  #pointed({ clientX, clientY }) {
    const word = this.#wordUnder(clientX, clientY);
    this.element.title = word ? described(word) : "";
  }

  #selected() {
    const caret = this.#take ? caretOf(this.element) : -1;
    if (caret >= 0) this.#emit("word", this.#wordAt(caret));
  }

  #wordUnder(x, y) {
    const [node, offset] = spotUnder(x, y);
    return this.element.contains(node) ? this.#wordAt(placeOf(this.element, node, offset)) : undefined;
  }

  #pressed(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!this.editing) {
      if (event.key === "Enter") this.editing = true;
      else if (step && this.#words.length) this.#step(step);
      else return;
      event.preventDefault();
    } else if ((event.ctrlKey || event.metaKey) && /^[zy]$/i.test(event.key)) {
      event.preventDefault();
      if (event.shiftKey || event.key.toLowerCase() === "y") this.redo();
      else this.undo();
    }
  }

  /** From word to word, while nothing is edited. */
  #step(step) {
    const now = this.#words.indexOf(this.#spoken);
    const word = this.#words[Math.max(0, Math.min(this.#words.length - 1, now + step))];
    this.#emit("seek", word);
  }

  /** The browser's own undo, from its menu: ours is one a take. */
  #before(event) {
    if (!event.inputType.startsWith("history")) return;
    event.preventDefault();
    if (event.inputType === "historyUndo") this.undo();
    else this.redo();
  }

  #range({ at, text }) {
    return rangeOf(this.element, at, at + text.length);
  }

  #emit(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** Where in the text the change ends that made it of another one. */
function changeEnd(before, after) {
  let same = 0;
  while (same < Math.min(before.length, after.length) && before.at(-1 - same) === after.at(-1 - same)) same++;
  return after.length - same;
}

/** What is known of a word: "fox: 62 % sure, at 0:03.2". */
export function described(word) {
  const sure = word.edited ? "edited" : `${Math.round(word.confidence * 100)} % sure`;
  const minutes = Math.floor(word.start / 60);
  return `${word.text}: ${sure}, at ${minutes}:${(word.start % 60).toFixed(1).padStart(4, "0")}`;
}
