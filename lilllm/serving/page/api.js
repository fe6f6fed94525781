// The server's API: one request that streams, and the model's description.

const KEY = "lilllm-key";

export class ApiProblem extends Error {
  constructor(status, error) {
    super(error?.message ?? `the server answered ${status}`);
    this.status = status;
    this.code = error?.code;
  }
}

export function useKey(key) {
  sessionStorage.setItem(KEY, key);
}

async function call(path, options = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  const response = await fetch(path, { ...options, headers });
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new ApiProblem(response.status, answer.error);
  }
  return response;
}

export async function describeModel() {
  const list = await (await call("/v1/models")).json();
  return list.data[0];
}

export async function post(path, body) {
  return (await call(path, { method: "POST", body: JSON.stringify(body) })).json();
}

// Yields the parsed events of a streamed answer until [DONE].
export async function* stream(path, body, signal) {
  const text = JSON.stringify({ ...body, stream: true });
  const response = await call(path, { method: "POST", body: text, signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new ApiProblem(response.status, { message: "the answer was cut off" });
    held += value;
    const events = held.split("\n\n");
    held = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, "");
      if (data === "[DONE]") return;
      const parsed = JSON.parse(data);
      if (parsed.error) throw new ApiProblem(response.status, parsed.error);
      yield parsed;
    }
  }
}
