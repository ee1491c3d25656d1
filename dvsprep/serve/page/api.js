// Requests to the service this page came from, and to nobody else.

const KEY = "dvsprep-token";
let asking = null; // one question at a time, however many requests are refused
let askToken = async () => null;

/** An answer that is an error, in the service's words. */
export class Problem extends Error {
  constructor(status, told) {
    super(
      [told.detail ?? told.title ?? `the service answered ${status}`, told.hint].filter(Boolean).join(": "),
    );
    this.status = status;
  }
}

/** Set who is asked for a token: an async function that returns one, or null. */
export function onToken(ask) {
  askToken = ask;
}

export const hasToken = () => sessionStorage.getItem(KEY) !== null;

function send(path, how) {
  const token = sessionStorage.getItem(KEY);
  // Told that the page asks, the service refuses without the browser's own question for a password.
  const headers = { "X-Requested-With": "dvsprep", ...how.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  return fetch(path, { ...how, headers });
}

async function newToken() {
  asking ??= askToken().finally(() => {
    asking = null;
  });
  const token = await asking;
  if (token) sessionStorage.setItem(KEY, token);
  return token;
}

/** Return the answer to a request; throws a Problem unless it is a good one. */
export async function ask(path, how = {}) {
  let answer = await send(path, how);
  while (answer.status === 401 && (await newToken())) answer = await send(path, how);
  if (answer.ok) return answer;
  let told = {};
  try {
    told = await answer.json();
  } catch {
    /* a proxy's answer is no problem+json; its status says enough */
  }
  throw new Problem(answer.status, told);
}

export async function json(path, signal) {
  return (await ask(path, { signal })).json();
}

export async function post(path, body) {
  const headers = { "Content-Type": "application/json" };
  return (await ask(path, { method: "POST", headers, body: JSON.stringify(body) })).json();
}

export async function remove(path) {
  return (await ask(path, { method: "DELETE" })).json();
}

/** Yield the data of server-sent events. (EventSource sends no Authorization.) */
export async function* events(path, signal) {
  const answer = await ask(path, { signal, headers: { Accept: "text/event-stream" } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part
        .split("\n")
        .filter((line) => line.startsWith("data:"))
        .map((line) => line.slice(5));
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

export const address = (id) => `v1/caches/${encodeURIComponent(id)}`;
