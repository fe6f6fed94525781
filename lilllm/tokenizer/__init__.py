"""Byte-level BPE: training, tokenizer folders, chat templates, fast encoding."""

from lilllm.tokenizer.bpe import SPECIAL_TOKENS, train_bpe
from lilllm.tokenizer.encoder import load_encoder
from lilllm.tokenizer.stream import StreamDecoder
from lilllm.tokenizer.tokenizer import Tokenizer, whole

__all__ = ["SPECIAL_TOKENS", "StreamDecoder", "Tokenizer", "load_encoder", "train_bpe", "whole"]
