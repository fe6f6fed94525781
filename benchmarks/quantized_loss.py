"""What 8 and 4 bits cost in bits per byte, beside bf16.

    python benchmarks/quantized_loss.py --text story.txt runs/demo/pretrain smollm2

Every folder is scored on the documents of the text (separated by <|endoftext|>, the first
`--documents` of them) in fp32 and bf16, and rounded to 8 and 4 bits as `lilllm export --quantize`
does. Writes benchmarks/results/quantized_loss.json.
"""

import argparse
import json
from pathlib import Path

import torch
from machine import describe

from lilllm.evaluation import bits_per_byte
from lilllm.model.quantized import SCALES, VALUES, quantize_state, unpack
from lilllm.stages.find_checkpoint import find_checkpoint, load_checkpoint

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/quantized_loss.json")
    args = parser.parse_args()
    texts = args.text.read_text(encoding="utf-8").split("<|endoftext|>")
    texts = [text.strip() for text in texts if text.strip()][: args.documents]
    n_bytes = sum(len(text.encode()) for text in texts)
    rows = {}
    for folder in args.folders:
        loaded = load_checkpoint(find_checkpoint(folder, print), device="cpu")
        documents = [loaded.tokenizer.encode(text) for text in texts]
        model, tokenizer = loaded.model, loaded.tokenizer
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        found = {}
        for form in ("fp32", "bf16", "int8", "int4"):
            kept = dict(state)
            if form.startswith("int"):
                packed = quantize_state(state, 8 if form == "int8" else 4)
                for name in state:
                    if name + VALUES in packed:
                        matrix = unpack(name, packed[name + VALUES], packed[name + SCALES])
                        kept[name] = matrix.dequantize()
            model.to(torch.float32).load_state_dict(kept)
            if form == "bf16":
                model.to(torch.bfloat16)
            first = tokenizer.end_id if tokenizer.bos_id is None else tokenizer.bos_id
            measures = bits_per_byte(
                model, documents, n_bytes, bos_id=first, end_id=tokenizer.end_id
            )
            found[form] = measures["bpb"]
            print(folder, form, found[form], flush=True)
        rows[folder.resolve().name] = {
            "parameters": sum(tensor.numel() for tensor in model.parameters()),
            "bpb": {form: round(value, 5) for form, value in found.items()},
            "loss_percent_of_bf16": {
                form: round(100 * (found[form] / found["bf16"] - 1), 3) for form in ("int8", "int4")
            },
        }
    result = {
        **describe(),
        "text": f"{len(texts)} documents, {n_bytes} bytes of {args.text.name}",
        "models": rows,
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
