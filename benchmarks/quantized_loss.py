"""What 8 and 4 bits cost in bits per byte, beside bf16.

    python benchmarks/quantized_loss.py --text stories.txt runs/demo/pretrain smollm2

A checkpoint of a run is scored on its own validation documents, any other on those of the text
(separated by <|endoftext|>), the first `--documents` of them: in fp32 and bf16, and rounded to 8
and 4 bits as `lilllm export --quantize` does. Writes benchmarks/results/quantized_loss.json.
"""

import argparse
import json
from pathlib import Path

from machine import describe
from torch import Tensor

from lilllm.config import layout
from lilllm.config.schema import EvalConfig
from lilllm.evaluation import bits_per_byte
from lilllm.model import Transformer
from lilllm.model.quantized import SCALES, VALUES, Bits, quantize_state, unpack
from lilllm.stages.evaluate import score_split
from lilllm.stages.find_checkpoint import Loaded, find_checkpoint, load_checkpoint

BITS: dict[str, Bits] = {"int8": 8, "int4": 4}
ROOT = Path(__file__).resolve().parents[1]


def score(loaded: Loaded, model: Transformer, text: Path, documents: int) -> tuple[str, float]:
    """What was scored, and its bits per byte."""
    tokenizer = loaded.tokenizer
    if loaded.config is not None:
        section = EvalConfig(max_documents=documents)
        data = layout(loaded.config).data
        measures = score_split(model, tokenizer, data, "val", section)
        return f"{measures['documents']} validation documents", measures["bpb"]
    texts = text.read_text(encoding="utf-8").split("<|endoftext|>")
    texts = [piece.strip() for piece in texts if piece.strip()][:documents]
    first = tokenizer.end_id if tokenizer.bos_id is None else tokenizer.bos_id
    measures = bits_per_byte(
        model,
        [tokenizer.encode(piece) for piece in texts],
        sum(len(piece.encode()) for piece in texts),
        bos_id=first,
        end_id=tokenizer.end_id,
    )
    return f"{len(texts)} documents of {text.name}", measures["bpb"]


def rounded(state: dict[str, Tensor], bits: Bits) -> dict[str, Tensor]:
    """The state dict that a folder in so many bits is read as."""
    packed = quantize_state(state, bits)
    return {
        name: unpack(name, packed[name + VALUES], packed[name + SCALES]).dequantize()
        if name + VALUES in packed
        else tensor
        for name, tensor in state.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results/quantized_loss.json")
    args = parser.parse_args()
    rows = {}
    for folder in args.folders:
        loaded = load_checkpoint(find_checkpoint(folder, print), device="cpu")
        model = loaded.model
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        found = {}
        for form in ("fp32", "bf16", "int8", "int4"):
            bits = BITS.get(form)
            model.float().load_state_dict(rounded(state, bits) if bits else state)
            if form == "bf16":
                model.bfloat16()
            what, found[form] = score(loaded, model, args.text, args.documents)
            print(folder, form, found[form], flush=True)
        rows[str(folder)] = {
            "parameters": sum(tensor.numel() for tensor in model.parameters()),
            "scored": what,
            "bpb": {form: round(value, 5) for form, value in found.items()},
            "loss_percent_of_bf16": {
                form: round(100 * (found[form] / found["bf16"] - 1), 3) for form in BITS
            },
        }
    result = {**describe(), "models": rows}
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
