// The calls to the service. All addresses are relative to the page, which may lie under any path.

const KEY = "api-key";

/** The API key, kept until the tab is closed. */
export const apiKey = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (key) => sessionStorage.setItem(KEY, key),
};

/** Why there is no answer, in words; `detail` is what the service says of it, `retryAfter` are seconds. */
export class ServiceError extends Error {
  constructor(message, { status = 0, detail = "", retryAfter = null } = {}) {
    super(message);
    Object.assign(this, { status, detail, retryAfter });
  }
}

const REASONS = {
  401: "This service wants an API key.",
  404: "The service does not have this.",
  413: "This is more than the service takes at once.",
  415: "This is not audio that can be read.",
  422: "The service cannot use this.",
  429: "The service is busy.",
  500: "The service failed.",
  502: "The service is not running.",
  503: "The service is not ready.",
  504: "The service took too long.",
};

/** The error that an answer means. */
function refusal(status, body, retryAfter) {
  const seconds = retryAfter === null ? null : Math.max(1, Math.ceil(Number(retryAfter)) || 1);
  const reason = REASONS[status] ?? `The service answered with ${status}.`;
  return new ServiceError(reason, { status, detail: body?.error?.message, retryAfter: seconds });
}

/** What to say when there was no answer at all. */
export function unreachable(sending = false) {
  if (!navigator.onLine) return new ServiceError("You are offline. Connect, then try again.");
  if (sending) {
    return new ServiceError("The connection ended while the file was sent: it may be larger than the service takes.");
  }
  return new ServiceError("The service cannot be reached. It may have stopped; try again in a moment.");
}

/** The names of the models that are served, the default one first. */
export async function listModels() {
  const answer = await fetch(address("v1/models"), { headers: authorisation() }).catch(() => {
    throw unreachable();
  });
  const body = await answer.json().catch(() => null);
  if (!answer.ok) throw refusal(answer.status, body, answer.headers.get("Retry-After"));
  return body.data.map((model) => model.id);
}

/**
 * The transcript of a file: `{text, words: [{text, start, end, confidence}], duration, model}`.
 *
 * `onSent` is told the share of the file that was sent; aborting the signal takes everything back.
 */
export function transcribe(file, { model, onSent, signal }) {
  const { promise, resolve, reject } = deferred();
  const request = new XMLHttpRequest(); // fetch does not tell how much was sent
  let sent = 0;
  request.open("POST", address("transcribe"));
  for (const [name, value] of Object.entries(authorisation())) request.setRequestHeader(name, value);
  request.upload.onprogress = ({ loaded, total }) => onSent((sent = loaded / total));
  request.upload.onload = () => onSent((sent = 1));
  request.onload = () => {
    const body = parsed(request.responseText);
    if (request.status === 200 && body) resolve(body);
    else reject(refusal(request.status, body, request.getResponseHeader("Retry-After")));
  };
  request.onerror = () => reject(unreachable(sent > 0 && sent < 1));
  request.onabort = () => reject(signal.reason);
  signal.addEventListener("abort", () => request.abort());
  request.send(formOf(file, model));
  return promise;
}

/** The address of the stream of speech. */
export function streamAddress() {
  const url = new URL(address("v1/stream"));
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

const address = (path) => new URL(path, document.baseURI).href;

const authorisation = () => (apiKey.get() ? { Authorization: `Bearer ${apiKey.get()}` } : {});

function formOf(file, model) {
  const form = new FormData();
  if (model) form.append("model", model);
  form.append("file", file, file.name);
  return form;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Promise.withResolvers, which browsers of 2023 do not have. */
export function deferred() {
  let resolve, reject;
  const promise = new Promise((...settle) => ([resolve, reject] = settle));
  return { promise, resolve, reject };
}
