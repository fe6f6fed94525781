// Generated text, token by token: how tokens look, moving among them, and their alternatives.

const panel = document.getElementById("alternatives");
const panelTitle = document.getElementById("alternatives-title");
const panelList = document.getElementById("alternatives-list");
const panelNote = document.getElementById("alternatives-note");
const announcer = document.getElementById("announce");

let opened = null; // {text, index} while the panel is shown

export function announce(message) {
  announcer.textContent = message;
}

export const percent = (logprob) => {
  const share = 100 * Math.exp(logprob);
  return share >= 10 ? `${share.toFixed(0)} %` : share >= 0.1 ? `${share.toFixed(1)} %` : "< 0.1 %";
};

const isSpecial = (token) => /^<\|.*\|>$/.test(token.token);

const isWhole = (token) =>
  !new TextDecoder().decode(new Uint8Array(token.bytes ?? [])).includes("\ufffd");

// A token as people can tell it from its neighbours: spaces and line ends made visible.
function spell(token) {
  if (!isWhole(token)) {
    const bytes = token.bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    return [["part of a character: " + bytes, true]];
  }
  if (isSpecial(token)) {
    const named = { "<|endoftext|>": "end of the text", "<|im_end|>": "end of the answer" };
    return [[named[token.token] ?? token.token, true]];
  }
  const parts = token.token.split(/(\n|\t|^ +)/).filter((part) => part !== "");
  const marks = { "\n": "new line", "\t": "tab" };
  return parts.map((part) => {
    if (marks[part]) return [marks[part], true];
    return part.trim() === "" ? ["␣".repeat(part.length), true] : [part, false];
  });
}

const plainSpelling = (token) => spell(token).map(([part]) => part).join("");

function spelled(token) {
  const shown = document.createElement("span");
  shown.className = "spelling";
  for (const [part, mark] of spell(token)) {
    const piece = document.createElement("span");
    if (mark) piece.className = "mark";
    piece.textContent = part;
    shown.append(piece);
  }
  return shown;
}

// The element that a generated text lives in. Tokens are plain spans, so that a screen reader
// reads sentences; arrow keys move among them and Enter opens the alternatives.
export class GeneratedText {
  // choose(index, token): take another token at a place; left out where that cannot be done.
  constructor(label, choose = null) {
    this.element = document.createElement("div");
    this.element.className = "said";
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "group");
    this.element.setAttribute("aria-label", `${label}; arrow keys move among tokens`);
    this.tokens = [];
    this.spans = [];
    this.current = -1;
    this.choose = choose;
    this.pending = []; // tokens whose bytes are not whole characters yet
    this.element.addEventListener("click", (event) => {
      const index = this.spans.findIndex((span) => span.contains(event.target));
      if (index >= 0) this.open(index);
    });
    this.element.addEventListener("keydown", (event) => this.key(event));
  }

  get text() {
    return this.spans.map((span) => span.textContent).join("");
  }

  write(text) {
    const written = document.createElement("span");
    written.className = "written";
    written.textContent = text;
    this.element.append(written);
  }

  // Add tokens with their scores. Pieces of one character share the span of its last piece.
  add(tokens) {
    for (const token of tokens) {
      this.pending.push(token);
      const bytes = new Uint8Array(this.pending.flatMap((part) => part.bytes ?? []));
      const text = new TextDecoder().decode(bytes);
      if (text.endsWith("\ufffd") && this.pending.length < 4) continue;
      const span = document.createElement("span");
      span.className = "token";
      span.textContent = text;
      const unlikely = Math.min(1, -token.logprob / 6);
      span.style.setProperty("--unlikely", (0.7 * unlikely).toFixed(2));
      span.title = percent(token.logprob);
      this.tokens.push(token);
      this.spans.push(span);
      this.pending = [];
      this.element.append(span);
    }
  }

  // A stop string may have ended the text in the middle of what was shown.
  cut(length) {
    let left = length;
    for (const span of this.spans) {
      span.textContent = span.textContent.slice(0, Math.max(0, left));
      left -= span.textContent.length;
    }
  }

  key(event) {
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (step && this.spans.length) {
      event.preventDefault();
      this.move(Math.max(0, Math.min(this.spans.length - 1, this.current + step)));
      const token = this.tokens[this.current];
      announce(`${plainSpelling(token)}, ${percent(token.logprob)}`);
    } else if ((event.key === "Enter" || event.key === " ") && this.current >= 0) {
      event.preventDefault();
      this.open(this.current);
    }
  }

  move(index) {
    this.spans[this.current]?.classList.remove("current");
    this.current = index;
    this.spans[index]?.classList.add("current");
    this.spans[index]?.scrollIntoView({ block: "nearest" });
  }

  open(index) {
    this.move(index);
    opened = this;
    const token = this.tokens[index];
    const others = [...(token.top_logprobs ?? [])];
    const place = others.findIndex((other) => String(other.bytes) === String(token.bytes));
    if (place < 0) others.push(token);
    panelTitle.textContent = `“${plainSpelling(token)}” had a probability of ${percent(token.logprob)}`;
    panelList.replaceChildren(...others.map((other) => this.row(other, token, index)));
    panelNote.textContent =
      "What the model thought likely here, before temperature and filters." +
      (this.choose ? " Choose one to go on from it." : "");
    panel.hidden = false;
    placePanel(this.spans[index]);
    panel.focus();
  }

  row(other, token, index) {
    const chosen = String(other.bytes) === String(token.bytes);
    const takes = this.choose && !chosen && isWhole(other) && !isSpecial(other);
    const row = document.createElement(takes ? "button" : "div");
    row.className = chosen ? "row chosen" : "row";
    row.style.setProperty("--share", `${100 * Math.exp(other.logprob)}%`);
    const share = document.createElement("span");
    share.className = "percent";
    share.textContent = percent(other.logprob);
    row.append(spelled(other), share);
    if (takes) {
      row.type = "button";
      row.addEventListener("click", () => {
        closePanel();
        this.choose(index, other);
      });
    }
    const item = document.createElement("li");
    if (chosen) item.setAttribute("aria-current", "true");
    item.append(row);
    return item;
  }
}

function placePanel(anchor) {
  const at = anchor.getClientRects()[0] ?? anchor.getBoundingClientRect();
  const left = Math.min(at.left - 12, innerWidth - panel.offsetWidth - 10);
  const below = at.bottom + 8;
  const fits = below + panel.offsetHeight < innerHeight - 8;
  panel.style.left = `${Math.max(8, left)}px`;
  panel.style.top = `${fits ? below : Math.max(8, at.top - panel.offsetHeight - 8)}px`;
}

export function closePanel() {
  if (panel.hidden) return;
  panel.hidden = true;
  opened.spans[opened.current]?.classList.remove("current");
  opened.element.focus({ preventScroll: true });
  opened = null;
}

document.getElementById("alternatives-close").addEventListener("click", closePanel);
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closePanel();
});
document.addEventListener("pointerdown", (event) => {
  if (!panel.hidden && !panel.contains(event.target)) closePanel();
});
document.addEventListener("scroll", closePanel, { capture: true, passive: true });
