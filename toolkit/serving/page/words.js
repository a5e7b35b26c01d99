// An edited text keeps the times of its words: those that stay have theirs, new ones get them from their neighbours.

const MOST_EDITS = 1000; // of a comparison; where more words differ, all between the first and the last count as new
const NEW_WORD_S = 0.4; // what a word takes that was put between two others, at most

/** The pieces between spaces, `{text, at}`: with their places in the text. */
export const tokens = (text) => [...text.matchAll(/\S+/g)].map((match) => ({ text: match[0], at: match.index }));

/**
 * The words of the text, each with `start`, `end`, `confidence`, its place `at`, and whether it was `edited`.
 *
 * `heard` are the words of the recording. Without them there are no times, and the answer is empty. What somebody wrote
 * is sure.
 */
export function timedWords(text, heard, duration) {
  if (!heard.length) return [];
  const found = tokens(text);
  const pairs = common(heard.map((word) => word.text), found.map((token) => token.text));
  const words = [];
  let [before, after] = [0, 0];
  for (const [i, j] of [...pairs, [heard.length, found.length]]) {
    const left = words.length ? words[words.length - 1].end : 0;
    const right = i < heard.length ? heard[i].start : Math.max(duration, left);
    words.push(...replaced(heard.slice(before, i), found.slice(after, j), [left, right]));
    if (i < heard.length) words.push({ ...heard[i], at: found[j].at, edited: false });
    [before, after] = [i + 1, j + 1];
  }
  return words;
}

/** New words in the place of others: one for one with the same times, else in the time of all, by their lengths. */
function replaced(old, fresh, [left, right]) {
  if (old.length === fresh.length) {
    return fresh.map((token, k) => written(token, old[k].start, old[k].end));
  }
  let start = old.length ? old[0].start : left;
  const end = old.length ? old[old.length - 1].end : Math.max(left, Math.min(right, left + NEW_WORD_S * fresh.length));
  const second = (end - start) / fresh.reduce((sum, token) => sum + token.text.length, 0);
  return fresh.map((token) => {
    const word = written(token, start, Math.min(end, start + second * token.text.length));
    start = word.end;
    return word;
  });
}

const written = (token, start, end) => ({ ...token, start, end, confidence: 1, edited: true });

/** Places `[i, j]` where both lists have the same, as many as possible, in order. */
function common(a, b) {
  let head = 0;
  while (head < a.length && head < b.length && a[head] === b[head]) head++;
  let tail = 0;
  while (tail < Math.min(a.length, b.length) - head && a.at(-1 - tail) === b.at(-1 - tail)) tail++;
  const pairs = Array.from({ length: head }, (_, k) => [k, k]);
  const middle = commonMiddle(a.slice(head, a.length - tail), b.slice(head, b.length - tail));
  for (const [i, j] of middle) pairs.push([head + i, head + j]);
  for (let k = tail; k > 0; k--) pairs.push([a.length - k, b.length - k]);
  return pairs;
}

/** The same by the shortest edit script (Myers 1986, "An O(ND) difference algorithm and its variations"). */
function commonMiddle(a, b) {
  const reached = []; // of each number of edits: how far on each diagonal k = i - j
  let furthest = new Map([[1, 0]]);
  for (let edits = 0; edits <= Math.min(a.length + b.length, MOST_EDITS); edits++) {
    const next = new Map();
    for (let k = -edits; k <= edits; k += 2) {
      let i = stepsDown(furthest, k, edits) ? furthest.get(k + 1) : furthest.get(k - 1) + 1;
      while (i < a.length && i - k < b.length && a[i] === b[i - k]) i++;
      next.set(k, i);
      if (i >= a.length && i - k >= b.length) return backtracked(reached, [a.length, b.length]);
    }
    reached.push(next);
    furthest = next;
  }
  return [];
}

const stepsDown = (furthest, k, edits) =>
  k === -edits || (k !== edits && furthest.get(k - 1) < furthest.get(k + 1));

/** The common places on the way back from the end. */
function backtracked(reached, [i, j]) {
  const pairs = [];
  for (let edits = reached.length; edits > 0; edits--) {
    const before = reached[edits - 1];
    const down = stepsDown(before, i - j, edits);
    const k = down ? i - j + 1 : i - j - 1;
    const from = before.get(k);
    while (i > from + (down ? 0 : 1) && j > from - k + (down ? 1 : 0)) pairs.push([--i, --j]);
    [i, j] = [from, from - k];
  }
  while (i > 0 && j > 0) pairs.push([--i, --j]);
  return pairs.reverse();
}
