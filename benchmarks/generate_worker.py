"""One contestant of `generate.py`: answers JSON lines, in the environment of its own library.

Every line on stdin is {"prompts": [[ids], ...], "new": n}; the answer has `tokens_per_s` (all
tokens after the first of each text) and `first_token_ms`. Run by generate.py:
python generate_worker.py NAME MODEL_FOLDER THREADS
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Run = Callable[[list[list[int]], int], dict[str, Any]]


def rate(stamps: list[float], start: float, texts: int) -> dict[str, Any]:
    """Figures from the times at which each text had one more token."""
    seconds = stamps[-1] - stamps[0]
    return {
        "tokens_per_s": texts * (len(stamps) - 1) / seconds,
        "first_token_ms": (stamps[0] - start) * 1000,
    }


def lilllm(form: str, folder: Path) -> Run:
    import torch

    from lilllm.config.schema import GenerateConfig
    from lilllm.inference import Engine
    from lilllm.model import load_model

    dtype = torch.float32 if form == "fp32" else torch.bfloat16
    bits = {"int8": 8, "int4": 4}.get(form)
    engine = Engine(load_model(folder, dtype=dtype), quantize=bits)

    def run(prompts: list[list[int]], new: int) -> dict[str, Any]:
        made = engine.generate(prompts, GenerateConfig(max_new_tokens=new, temperature=0))
        assert all(len(sample.ids) == new for sample in made.samples)
        return {
            "tokens_per_s": made.decode_tokens / made.decode_s,
            "first_token_ms": made.first_token_s * 1000,
            "tokens": made.samples[0].ids,
        }

    return run


def transformers(form: str, folder: Path) -> Run:
    import torch
    from transformers import AutoModelForCausalLM

    dtype = torch.float32 if form == "fp32" else torch.bfloat16
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()

    class Clock:  # a streamer: told the prompt, then each new token of the batch
        def __init__(self) -> None:
            self.stamps: list[float] = []

        def put(self, tokens: Any) -> None:
            self.stamps.append(time.perf_counter())

        def end(self) -> None:
            pass

    def run(prompts: list[list[int]], new: int) -> dict[str, Any]:
        ids = torch.tensor(prompts)
        clock = Clock()
        if len(prompts) > 1:  # generate() allows a streamer for one text only

            def stamp(_: Any, scores: Any) -> Any:
                clock.put(None)
                return scores

            hooks: dict[str, Any] = {"logits_processor": [stamp]}
        else:
            hooks = {"streamer": clock}
        start = time.perf_counter()
        with torch.inference_mode():
            found = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                do_sample=False,
                max_new_tokens=new,
                min_new_tokens=new,
                eos_token_id=None,
                **hooks,
            )
        stamps = clock.stamps if len(prompts) > 1 else clock.stamps[1:]
        return {**rate(stamps, start, len(prompts)), "tokens": found[0, ids.shape[1] :].tolist()}

    return run


def litgpt(form: str, folder: Path) -> Run:
    import torch
    from litgpt import GPT, Config
    from litgpt.generate import base
    from safetensors.torch import load_file

    c = json.loads((folder / "config.json").read_text())
    config = Config(
        block_size=c["max_position_embeddings"],
        vocab_size=c["vocab_size"],
        padded_vocab_size=c["vocab_size"],
        n_layer=c["num_hidden_layers"],
        n_head=c["num_attention_heads"],
        n_query_groups=c["num_key_value_heads"],
        n_embd=c["hidden_size"],
        head_size=c["head_dim"],
        intermediate_size=c["intermediate_size"],
        rotary_percentage=1.0,
        rope_base=int(c["rope_theta"]),
        norm_class_name="RMSNorm",
        norm_eps=c["rms_norm_eps"],
        mlp_class_name="LLaMAMLP",
        bias=False,
        parallel_residual=False,
    )
    theirs = load_file(folder / "model.safetensors")
    embedding = theirs["model.embed_tokens.weight"]
    state = {
        "lm_head.weight": embedding,
        "transformer.wte.weight": embedding,
        "transformer.ln_f.weight": theirs["model.norm.weight"],
    }
    names = {
        "norm_1": "input_layernorm",
        "norm_2": "post_attention_layernorm",
        "attn.proj": "self_attn.o_proj",
        "mlp.fc_1": "mlp.gate_proj",
        "mlp.fc_2": "mlp.up_proj",
        "mlp.proj": "mlp.down_proj",
    }
    for layer in range(config.n_layer):
        source, target = f"model.layers.{layer}.", f"transformer.h.{layer}."
        for ours, name in names.items():
            state[f"{target}{ours}.weight"] = theirs[f"{source}{name}.weight"]
        qkv = [theirs[f"{source}self_attn.{part}_proj.weight"] for part in "qkv"]
        state[f"{target}attn.qkv.weight"] = torch.cat(qkv)
    model = GPT(config)
    model.load_state_dict(state)
    dtype = torch.float32 if form == "fp32" else torch.bfloat16
    model = model.to(dtype).eval()
    model.max_seq_length = config.block_size
    model.set_kv_cache(batch_size=1, dtype=dtype)
    if form.endswith("compiled"):  # as `litgpt generate --compile` does
        torch._dynamo.config.automatic_dynamic_shapes = True
        torch._inductor.config.coordinate_descent_tuning = True
        base.next_token = torch.compile(base.next_token, mode="reduce-overhead")

    def run(prompts: list[list[int]], new: int) -> dict[str, Any]:
        (prompt,) = prompts
        start, stamps, tokens = time.perf_counter(), [], []
        for token in base.generate_fn(
            model,
            torch.tensor(prompt),
            len(prompt) + new,
            temperature=0.0,
            top_k=None,
            include_prompt=False,
            include_eos=False,
        ):
            tokens.append(int(token))
            stamps.append(time.perf_counter())
        return {**rate(stamps, start, 1), "tokens": tokens}

    return run


def llamacpp(form: str, folder: Path) -> Run:
    import ctypes

    import llama_cpp

    source, path = folder / "f32.gguf", folder / f"{form}.gguf"
    types = {"bf16": 32, "q8_0": 7, "q4_0": 2, "q4_1": 3}
    if not path.exists():
        settings = llama_cpp.llama_model_quantize_default_params()
        settings.ftype = types[form]
        failed = llama_cpp.llama_model_quantize(
            str(source).encode(), str(path).encode(), ctypes.byref(settings)
        )
        assert not failed, f"llama.cpp could not quantize to {form}"
    threads = int(sys.argv[3])
    context = json.loads((folder / "config.json").read_text())["max_position_embeddings"]
    model = llama_cpp.Llama(
        str(path), n_ctx=context, n_threads=threads, n_threads_batch=threads, verbose=False
    )

    def run(prompts: list[list[int]], new: int) -> dict[str, Any]:
        """llama.cpp's C functions in a bare loop: no Python of its bindings per token."""
        (prompt,) = prompts
        start, stamps, tokens = time.perf_counter(), [], []
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(model.ctx), True)
        sampler = llama_cpp.llama_sampler_init_greedy()
        fed = (llama_cpp.llama_token * len(prompt))(*prompt)
        one = (llama_cpp.llama_token * 1)()
        batch = llama_cpp.llama_batch_get_one(fed, len(prompt))
        for _ in range(new):
            assert not llama_cpp.llama_decode(model.ctx, batch)
            one[0] = llama_cpp.llama_sampler_sample(sampler, model.ctx, -1)
            tokens.append(one[0])
            stamps.append(time.perf_counter())
            batch = llama_cpp.llama_batch_get_one(one, 1)
        llama_cpp.llama_sampler_free(sampler)
        return {**rate(stamps, start, 1), "tokens": tokens}

    return run


MAKERS = {"lilllm": lilllm, "transformers": transformers, "litgpt": litgpt, "llama.cpp": llamacpp}


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    library, form = name.split(" ", 1)
    if library != "llama.cpp":
        import torch

        torch.set_num_threads(int(sys.argv[3]))
    run = MAKERS[library](form, folder)
    answers.write("{}\n")
    for line in sys.stdin:
        asked = json.loads(line)
        answers.write(json.dumps(run(asked["prompts"], asked["new"])) + "\n")


if __name__ == "__main__":
    main()
