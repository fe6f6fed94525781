// Sampling controls and colours; what a person chose is kept in this browser.

const STORE = "lilllm-settings";
const THEME = "lilllm-theme";

const SLIDERS = [
  { key: "temperature", label: "Temperature", min: 0, max: 2, step: 0.05,
    help: "0 always takes the likeliest token; higher is wilder" },
  { key: "top_p", label: "Top p", min: 0.05, max: 1, step: 0.05,
    help: "keep the likeliest tokens of this probability together" },
  { key: "top_k", label: "Top k", min: 0, max: 200, step: 1,
    help: "keep this many likeliest tokens; 0 keeps all" },
  { key: "min_p", label: "Min p", min: 0, max: 0.5, step: 0.01,
    help: "drop what is this much less likely than the likeliest" },
  { key: "repetition_penalty", label: "Repetition penalty", min: 1, max: 2, step: 0.05,
    help: "above 1 repeats less" },
  { key: "max_tokens", label: "Tokens at most", min: 1, max: 512, step: 1,
    help: "length of an answer" },
];

const field = (id) => document.getElementById(id);

export class Settings {
  constructor(model) {
    this.defaults = { ...model.defaults, max_tokens: model.defaults.max_new_tokens };
    const longest = Math.max(16, Math.min(model.context_length, 4096));
    for (const slider of SLIDERS) {
      const max = slider.key === "max_tokens" ? longest : slider.max;
      field("sliders").append(makeSlider(slider, max));
    }
    const kept = JSON.parse(localStorage.getItem(STORE) ?? "{}");
    this.show({ ...this.defaults, ...kept });
    field("controls").addEventListener("input", () => this.keep());
    field("controls").addEventListener("submit", (event) => event.preventDefault());
    field("defaults").addEventListener("click", () => {
      this.show({ ...this.defaults, seed: "", system: "" });
      this.keep();
    });
    field("surprise").addEventListener("input", () => this.colour());
    this.colour();
  }

  show(values) {
    for (const { key } of SLIDERS) {
      field(key).value = values[key];
      field(`${key}-value`).textContent = field(key).value;
    }
    field("seed").value = values.seed ?? "";
    field("system").value = values.system ?? "";
    field("surprise").checked = values.surprise ?? false;
  }

  keep() {
    for (const { key } of SLIDERS) field(`${key}-value`).textContent = field(key).value;
    const chosen = { seed: field("seed").value, system: field("system").value,
      surprise: field("surprise").checked };
    for (const { key } of SLIDERS) {
      const value = Number(field(key).value);
      if (value !== Number(this.defaults[key])) chosen[key] = value;
    }
    localStorage.setItem(STORE, JSON.stringify(chosen));
  }

  colour() {
    document.body.classList.toggle("surprise", field("surprise").checked);
    field("legend").hidden = !field("surprise").checked;
  }

  // The fields of a request. A repeated request with a fixed seed takes the seeds after it.
  request(attempt = 0) {
    const chosen = {};
    for (const { key } of SLIDERS) chosen[key] = Number(field(key).value);
    const seed = field("seed").value.trim();
    if (/^\d{1,15}$/.test(seed)) chosen.seed = Number(seed) + attempt;
    return chosen;
  }

  get system() {
    return field("system").value.trim();
  }
}

function makeSlider({ key, label, min, step, help }, max) {
  const box = document.createElement("div");
  box.className = "field";
  const name = document.createElement("label");
  name.htmlFor = key;
  name.textContent = label;
  name.title = help;
  const value = document.createElement("output");
  value.id = `${key}-value`;
  value.htmlFor = key;
  name.append(value);
  const slider = document.createElement("input");
  Object.assign(slider, { id: key, type: "range", min, max, step, title: help });
  box.append(name, slider);
  return box;
}

export function followTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const button = field("theme");
  const apply = () => {
    const dark = (localStorage.getItem(THEME) ?? (system.matches ? "dark" : "light")) === "dark";
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    button.setAttribute("aria-pressed", String(dark));
  };
  button.addEventListener("click", () => {
    const dark = document.documentElement.dataset.theme === "dark";
    localStorage.setItem(THEME, dark ? "light" : "dark");
    apply();
  });
  system.addEventListener("change", apply);
  apply();
}
