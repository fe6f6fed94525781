// The page as a whole: which mode is shown, what it is busy with, and the text field.

import { describeModel, useKey } from "/api.js";
import { Chat } from "/chat.js";
import { Settings, followTheme } from "/settings.js";
import { Story } from "/story.js";
import { closePanel } from "/tokens.js";

const byId = (id) => document.getElementById(id);
const message = byId("message");
const WORDS = {
  chat: { label: "Your message", send: "Send", hint: "Enter sends, Shift+Enter is a new line" },
  story: { label: "How it begins, or goes on", send: "Continue",
    hint: "Ctrl+Enter continues; empty goes on from the end" },
};

let modes = {};
let mode = "chat";
let busy = null; // the AbortController of what is being generated

function show(chosen) {
  mode = chosen;
  for (const name of ["chat", "story"]) {
    byId(name).hidden = name !== chosen;
    byId(`tab-${name}`).setAttribute("aria-selected", String(name === chosen));
    byId(`tab-${name}`).tabIndex = name === chosen ? 0 : -1;
  }
  byId("message-label").textContent = message.placeholder = WORDS[chosen].label;
  byId("send").textContent = WORDS[chosen].send;
  byId("hint").textContent = WORDS[chosen].hint;
  byId("system-field").hidden = chosen !== "chat";
  closePanel();
  refresh();
}

function refresh() {
  const active = modes[mode];
  document.body.classList.toggle("busy", busy !== null);
  byId("stop").hidden = busy === null;
  byId("send").hidden = busy !== null;
  byId("send").disabled = !active;
  byId("again").disabled = busy !== null || !active?.canRepeat;
  byId("clear").disabled = busy !== null || !active || active.empty;
  for (const name of ["chat", "story"]) {
    byId(`tab-${name}`).disabled = busy !== null || (name === "chat" && modes.chat === null);
  }
}

function tell(problem) {
  byId("problem").hidden = problem === null;
  byId("problem").textContent = problem?.message ?? "";
  if (problem?.status === 401) askForKey();
}

function askForKey() {
  byId("controls").hidden = true;
  byId("key-form").hidden = false;
  byId("settings").classList.add("shown");
  byId("key").focus();
}

async function start(work) {
  if (busy) return;
  busy = new AbortController();
  tell(null);
  refresh();
  try {
    await work(busy.signal);
  } catch (problem) {
    if (problem.name !== "AbortError") tell(problem);
  } finally {
    busy = null;
    refresh();
  }
}

function send() {
  const text = message.value;
  const active = modes[mode];
  if (!active || busy || (mode === "chat" && !text.trim())) return;
  message.value = "";
  grow();
  start((signal) => active.send(text, signal));
}

function grow() {
  message.style.height = "auto";
  message.style.height = `${message.scrollHeight}px`;
}

function moveAmongTabs(event) {
  if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
  const other = mode === "chat" ? "story" : "chat";
  if (byId(`tab-${other}`).disabled) return;
  show(other);
  byId(`tab-${other}`).focus();
}

async function open() {
  const model = await describeModel();
  const kind = model.chat ? "chat model" : "base model";
  byId("model").textContent = `${model.id} · ${kind} · ${model.context_length} tokens of context`;
  document.title = `${model.id} – lilllm`;
  const settings = new Settings(model);
  modes = { chat: model.chat ? new Chat(model, settings) : null,
    story: new Story(model, settings, start) };
  byId("base-note").hidden = model.chat;
  byId("tab-chat").title = model.chat ? "" : "This base model was never trained to answer";
  byId("controls").hidden = false;
  byId("key-form").hidden = true;
  byId("settings").classList.remove("shown");
  show(model.chat ? "chat" : "story");
  message.focus();
}

followTheme();
byId("tab-chat").addEventListener("click", () => show("chat"));
byId("tab-story").addEventListener("click", () => show("story"));
document.querySelector("nav").addEventListener("keydown", moveAmongTabs);
byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
message.addEventListener("input", grow);
message.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  const sends = mode === "chat" ? !event.shiftKey : event.ctrlKey || event.metaKey;
  if (sends) {
    event.preventDefault();
    send();
  }
});
byId("stop").addEventListener("click", () => busy?.abort());
byId("again").addEventListener("click", () => start((signal) => modes[mode].again(signal)));
byId("clear").addEventListener("click", () => {
  modes[mode].clear();
  tell(null);
  refresh();
});
byId("show-settings").addEventListener("click", (event) => {
  const shown = byId("settings").classList.toggle("shown");
  event.currentTarget.setAttribute("aria-expanded", String(shown));
});
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(byId("key").value);
  open().then(() => tell(null), tell);
});
refresh();
open().catch(tell);
