// A transcript as a file. The rules are those of toolkit/inference/formats.py, and a test holds them together.

// What a viewer can read: two lines of 42 characters, for seven seconds at most (Netflix, Timed Text Style Guide).
const [LINE_CHARACTERS, LINES, CUE_S] = [42, 2, 7];
const PAUSE_S = 1; // of silence end a subtitle, as does the end of a sentence
const SHORTEST_CUE_S = 0.8; // a subtitle is shown for at least so long, where the next one leaves it the time

/** Each format: its name for people, its media type, and how it is made of `{text, words, duration, model, file}`. */
export const FORMATS = {
  txt: { label: "Text", type: "text/plain", make: ({ text }) => `${text}\n` },
  srt: { label: "SRT", type: "application/x-subrip", make: asSrt },
  vtt: { label: "VTT", type: "text/vtt", make: asVtt },
  json: { label: "JSON", type: "application/json", make: asJson },
};

function asSrt(transcript) {
  return subtitles(transcript)
    .map((cue, index) => `${index + 1}\n${span(cue, ",")}\n${lines(cue.text)}\n`)
    .join("\n");
}

function asVtt(transcript) {
  const cues = subtitles(transcript).map((cue) => `${span(cue, ".")}\n${escaped(lines(cue.text))}\n`);
  return ["WEBVTT\n", ...cues].join("\n");
}

function asJson({ text, words, duration, model, file }) {
  const plain = words.map((word) => ({
    text: word.text,
    start: rounded(word.start),
    end: rounded(word.end),
    confidence: rounded(word.confidence),
  }));
  return `${JSON.stringify({ text, words: plain, duration: rounded(duration), model, file }, null, 2)}\n`;
}

/** Words in groups that fit a screen; all in one where words have no times. */
export function subtitles({ text, words, duration }) {
  if (!words.length) return text ? [{ text, start: 0, end: duration }] : [];
  const groups = [];
  for (const word of words) {
    if (!groups.length || !fits(groups.at(-1), word)) groups.push([]);
    groups.at(-1).push(word);
  }
  return groups.map((group, index) => {
    const [start, end] = [group[0].start, group.at(-1).end];
    const latest = groups[index + 1]?.[0].start ?? Infinity;
    return { text: spoken(group), start, end: Math.max(end, Math.min(start + SHORTEST_CUE_S, latest)) };
  });
}

/** Whether a subtitle of these words can have one more. */
function fits(group, word) {
  const last = group.at(-1);
  if (word.start - last.end >= PAUSE_S || /[.?!]$/.test(last.text)) return false;
  return word.end - group[0].start <= CUE_S && wrapped(spoken([...group, word]), LINE_CHARACTERS).length <= LINES;
}

const spoken = (group) => group.map((word) => word.text).join(" ");

/** The text of a subtitle, on lines of much the same length. */
function lines(text) {
  const needed = wrapped(text, LINE_CHARACTERS);
  if (needed.length > LINES || needed.length === 1) return needed.join("\n");
  for (let width = Math.floor(text.length / LINES); ; width++) {
    const narrow = wrapped(text, width);
    if (narrow.length <= LINES) return narrow.join("\n");
  }
}

/** Lines of so many characters at most, as Python's textwrap.wrap makes them; what is too long for any line is cut. */
function wrapped(text, width) {
  const made = [];
  let line = "";
  for (const word of text.split(/\s+/).filter(Boolean)) {
    for (const [index, part] of word.split(AFTER_HYPHEN).entries()) {
      const longer = line + (line && index === 0 ? " " : "") + part;
      if (size(longer) > width && size(part) <= width) {
        made.push(line);
        line = part;
        continue;
      }
      for (line = longer; size(line) > width; line = [...line].slice(width).join("")) {
        made.push([...line].slice(0, width).join("").trimEnd());
      }
    }
  }
  return line ? [...made, line] : made;
}

const AFTER_HYPHEN = /(?<=[\p{L}\p{N}_!"'&.,?]{2}-)(?=\p{L}-?\p{L})/u; // of a compound
const size = (text) => [...text].length;
const span = (cue, mark) => `${clock(cue.start, mark)} --> ${clock(cue.end, mark)}`;

/** `00:01:02,345` */
function clock(seconds, mark) {
  const milliseconds = Math.round(seconds * 1000);
  const total = Math.floor(milliseconds / 1000);
  const parts = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60].map((part) => digits(part, 2));
  return `${parts.join(":")}${mark}${digits(milliseconds % 1000, 3)}`;
}

const digits = (number, places) => String(number).padStart(places, "0");
const rounded = (number) => Math.round(number * 10000) / 10000;
const escaped = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
