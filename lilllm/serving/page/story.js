// A text that the model continues, and the ways that it could have gone instead.

import { stream } from "/api.js";
import { GeneratedText, announce } from "/tokens.js";

const page = document.getElementById("page");
const box = document.getElementById("story");
const welcome = page.querySelector(".welcome");

export class Story {
  // start(work): runs work(signal) as the one thing that the page is busy with.
  constructor(model, settings, start) {
    this.model = model;
    this.settings = settings;
    this.start = start;
    this.parts = []; // {written, made, foot}: what a person wrote, and how the model went on
    this.attempt = 0;
  }

  get empty() {
    return this.parts.length === 0;
  }

  get canRepeat() {
    return !this.empty;
  }

  get text() {
    return this.parts.map((part) => part.written + part.made.text).join("");
  }

  clear() {
    this.parts = [];
    page.replaceChildren(welcome);
  }

  // Go on after `written`; empty goes on from where the text is.
  async send(written, signal) {
    this.attempt = 0;
    welcome.remove();
    const part = this.makePart(written);
    this.parts.push(part);
    await this.fill(part, this.text, signal);
  }

  async again(signal) {
    const { written } = this.drop();
    const kept = this.attempt + 1;
    welcome.remove();
    const part = this.makePart(written);
    this.parts.push(part);
    this.attempt = kept;
    await this.fill(part, this.text, signal);
  }

  drop() {
    const part = this.parts.pop();
    part.made.element.remove();
    part.foot.remove();
    return part;
  }

  // Take another token at a place, and go on from there.
  branch(part, index, token) {
    this.start(async (signal) => {
      while (this.parts.at(-1) !== part) this.drop();
      const { made } = part;
      const others = made.tokens[index].top_logprobs;
      for (const span of made.spans.splice(index)) span.remove();
      made.tokens.splice(index);
      made.pending = [];
      made.add([{ ...token, top_logprobs: others }]);
      this.attempt = 0;
      await this.fill(part, this.text, signal);
    });
  }

  makePart(written) {
    const part = { written };
    part.made = new GeneratedText("Story", (index, token) => this.branch(part, index, token));
    part.made.write(written);
    part.foot = document.createElement("div");
    part.foot.className = "foot hint";
    page.append(part.made.element, part.foot);
    return part;
  }

  async fill(part, prompt, signal) {
    const { made, foot } = part;
    const before = made.text.length;
    let length = before;
    let count = 0;
    const began = performance.now();
    made.element.classList.add("working");
    foot.textContent = "";
    try {
      for await (const event of this.pieces(prompt, part, signal)) {
        const choice = event.choices[0];
        length += choice.text.length;
        const tokens = choice.logprobs?.content ?? [];
        const follow = box.scrollTop + box.clientHeight > box.scrollHeight - 60;
        made.add(tokens);
        count += tokens.length;
        if (follow) box.scrollTop = box.scrollHeight;
      }
    } catch (problem) {
      if (problem.name !== "AbortError") throw problem;
    } finally {
      made.element.classList.remove("working");
      made.cut(length);
      if (!part.written && !made.spans.length) this.drop();
      if (this.empty) this.clear();
    }
    const speed = (1000 * count) / Math.max(1, performance.now() - began);
    const seen = part.cut ? " · the model saw only the end of the text" : "";
    foot.textContent = `${count} tokens · ${speed.toFixed(0)} per second${seen}`;
    announce(`Continued: ${made.text.slice(before)}`);
  }
  // The events of one continuation; of a text longer than the context only the end is sent.
  async *pieces(prompt, part, signal) {
    for (;;) {
      const body = { model: this.model.id, prompt, logprobs: 10,
        ...this.settings.request(this.attempt) };
      try {
        yield* stream("/v1/completions", body, signal);
        return;
      } catch (problem) {
        if (problem.code !== "context_length_exceeded" || prompt.length < 50) throw problem;
        prompt = prompt.slice(prompt.length / 4).replace(/^\S*\s/, "");
        part.cut = true;
      }
    }
  }
}
