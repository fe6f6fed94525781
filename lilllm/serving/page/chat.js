// The conversation: turns, and asking for the next one.

import { stream } from "/api.js";
import { GeneratedText, announce } from "/tokens.js";

const turns = document.getElementById("turns");
const message = document.getElementById("message");
const welcome = turns.querySelector(".welcome");

export class Chat {
  constructor(model, settings) {
    this.model = model;
    this.settings = settings;
    this.history = []; // {role, content, element}
    this.forgotten = 0; // turns at the beginning that no longer fit
    this.attempt = 0;
  }

  get empty() {
    return this.history.length === 0;
  }

  get canRepeat() {
    return !this.empty;
  }

  clear() {
    this.history = [];
    this.forgotten = 0;
    turns.replaceChildren(welcome);
  }

  async send(text, signal) {
    this.attempt = 0;
    welcome.remove();
    this.history.push({ role: "user", content: text, element: this.showMessage(text) });
    await this.answer(signal);
  }

  async again(signal) {
    if (this.history.at(-1)?.role === "assistant") this.history.pop().element.remove();
    this.attempt += 1;
    await this.answer(signal);
  }

  // Take the last message back into the text field, with what was answered to it.
  edit() {
    while (this.history.at(-1)?.role === "assistant") this.history.pop().element.remove();
    const last = this.history.pop();
    last.element.remove();
    message.value = last.content;
    message.dispatchEvent(new Event("input"));
    message.focus();
    if (this.empty) this.clear();
  }

  async answer(signal) {
    const made = new GeneratedText("Answer");
    const turn = this.showAnswer(made);
    const entry = { role: "assistant", content: "", element: turn };
    this.history.push(entry);
    try {
      await this.fill(entry, made, turn, signal);
    } finally {
      made.element.classList.remove("working");
      made.cut(entry.content.length);
      if (!entry.content && !made.spans.length) {
        this.history.splice(this.history.indexOf(entry), 1);
        turn.remove();
      }
    }
    announce(`Answer: ${entry.content}`);
  }

  async fill(entry, made, turn, signal) {
    const began = performance.now();
    let count = 0;
    let reason = "stopped";
    const foot = turn.querySelector(".figures");
    try {
      for await (const event of this.pieces(entry, signal)) {
        const choice = event.choices[0];
        const follow = atEnd();
        entry.content += choice.delta.content ?? "";
        const tokens = choice.logprobs?.content ?? [];
        made.add(tokens);
        count += tokens.length;
        reason = choice.finish_reason ?? reason;
        if (follow) toEnd();
      }
    } catch (problem) {
      if (problem.name !== "AbortError") throw problem;
    }
    const speed = (1000 * count) / Math.max(1, performance.now() - began);
    const ends = { stop: "finished", length: "length reached", stopped: "stopped" };
    foot.textContent = `${count} tokens · ${speed.toFixed(0)} per second · ${ends[reason]}`;
  }

  // The events of one answer; when the conversation is too long its oldest turns are left out.
  async *pieces(entry, signal) {
    for (;;) {
      const said = this.history.filter((turn) => turn !== entry).slice(this.forgotten);
      const system = this.settings.system;
      const messages = said.map(({ role, content }) => ({ role, content }));
      if (system) messages.unshift({ role: "system", content: system });
      const body = { model: this.model.id, messages, logprobs: true, top_logprobs: 10,
        ...this.settings.request(this.attempt) };
      try {
        yield* stream("/v1/chat/completions", body, signal);
        return;
      } catch (problem) {
        if (problem.code !== "context_length_exceeded" || said.length < 3) throw problem;
        this.forgotten += 2;
        this.showForgotten();
      }
    }
  }

  showForgotten() {
    turns.querySelector(".forgotten")?.remove();
    const note = document.createElement("p");
    note.className = "forgotten hint";
    note.textContent = "The model's context is full: it no longer sees what is above.";
    this.history[this.forgotten].element.before(note);
    announce(note.textContent);
  }

  showMessage(text) {
    turns.querySelectorAll(".edit").forEach((button) => button.remove());
    const turn = document.createElement("div");
    turn.className = "turn user";
    const said = document.createElement("div");
    said.className = "said";
    said.textContent = text;
    const foot = document.createElement("div");
    foot.className = "foot";
    const edit = document.createElement("button");
    edit.className = "quiet edit";
    edit.type = "button";
    edit.textContent = "Edit";
    edit.addEventListener("click", () => {
      if (!document.body.classList.contains("busy")) this.edit();
    });
    foot.append(edit);
    turn.append(said, foot);
    turns.append(turn);
    toEnd();
    return turn;
  }

  showAnswer(made) {
    const turn = document.createElement("div");
    turn.className = "turn assistant";
    const who = document.createElement("div");
    who.className = "who";
    who.textContent = this.model.id;
    const foot = document.createElement("div");
    foot.className = "foot hint figures";
    made.element.classList.add("working");
    turn.append(who, made.element, foot);
    turns.append(turn);
    toEnd();
    return turn;
  }
}

const box = document.getElementById("chat");
const atEnd = () => box.scrollTop + box.clientHeight > box.scrollHeight - 60;
const toEnd = () => {
  box.scrollTop = box.scrollHeight;
};
