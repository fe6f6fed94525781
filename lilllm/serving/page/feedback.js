// Two answers side by side, blind: votes, thumbs and edits go to the server, which keeps them.

import { describeModel, post } from "/api.js";

const $ = (id) => document.getElementById(id);
const sides = ["left", "right"];
let pair = null;
let kept = 0;

function show(problem) {
  $("problem").textContent = problem?.message ?? "";
  $("problem").hidden = !problem;
}

function working(on) {
  document.body.classList.toggle("waiting", on);
  document.querySelectorAll(".answers button, .verdict button").forEach((button) => {
    button.disabled = on || button.classList.contains("kept");
  });
}

async function guarded(work) {
  show(null);
  working(true);
  try {
    await work();
  } catch (problem) {
    show(problem);
  } finally {
    working(false);
  }
}

async function next(prompt = null) {
  pair = await post("/v1/feedback/pair", { prompt });
  $("prompt").textContent = pair.prompt;
  $("reason").value = "";
  document.querySelectorAll(".kept").forEach((button) => button.classList.remove("kept"));
  for (const side of sides) {
    const box = $(side);
    box.querySelector(".said").textContent = pair[side];
    box.querySelector("textarea").value = pair[side].trim();
    box.querySelector(".editing").hidden = true;
    box.querySelectorAll(".thumb").forEach((thumb) => thumb.setAttribute("aria-pressed", "false"));
  }
  document.body.dataset.pair = pair.id;
}

async function judge(judgement) {
  await post("/v1/feedback/judgement", { id: pair.id, ...judgement });
  kept += 1;
  $("kept").textContent = `${kept} kept`;
}

for (const button of document.querySelectorAll(".better")) {
  button.addEventListener("click", () => guarded(async () => {
    await judge({ better: button.dataset.better, reason: $("reason").value });
    await next();
  }));
}

for (const side of sides) {
  const box = $(side);
  for (const thumb of box.querySelectorAll(".thumb")) {
    thumb.addEventListener("click", () => guarded(async () => {
      await judge({ side, thumb: thumb.dataset.thumb });
      box.querySelectorAll(".thumb").forEach((other) => {
        other.setAttribute("aria-pressed", String(other === thumb));
        other.classList.add("kept");
      });
    }));
  }
  const form = box.querySelector(".editing");
  box.querySelector(".edit").addEventListener("click", () => {
    form.hidden = !form.hidden;
    if (!form.hidden) form.querySelector("textarea").focus();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    guarded(async () => {
      await judge({ side, edit: form.querySelector("textarea").value });
      form.hidden = true;
      box.querySelector(".edit").classList.add("kept");
    });
  });
}

$("skip").addEventListener("click", () => guarded(() => next()));
$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  guarded(() => next($("question").value.trim() || null));
});

guarded(async () => {
  const model = await describeModel();
  $("model").textContent = model.id;
  await next();
});
