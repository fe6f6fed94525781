"""The compiled decoding step: hands `kernels/decode.c` weights, and calls it."""

import ctypes
from collections.abc import Sequence

import torch
from torch import Tensor

from lilllm.inference.cache import SlotCache
from lilllm.inference.weights import Layer, Projection, Weights
from lilllm.model.quantized import GROUP, Quantized

KINDS = {torch.float32: 0, torch.bfloat16: 1, 8: 2, 4: 3}
"""Forms of weights by their torch type or their bits, as `enum kind` of decode.c numbers them."""
FUNCTIONS = ("decode", "attend_texts", "norm_texts", "activate_texts")
WIDTH = 16
"""Numbers that decode.c works on at a time; widths are multiples of it."""


class _Matrix(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int32),
        ("rows", ctypes.c_int32),
        ("cols", ctypes.c_int32),
        ("weights", ctypes.c_void_p),
        ("scales", ctypes.c_void_p),
        ("bias", ctypes.c_void_p),
    )


class _Layer(ctypes.Structure):
    _fields_ = (
        *((name, _Matrix) for name in ("qkv", "out", "gate_up", "down")),
        *((name, ctypes.c_void_p) for name in ("attention_norm", "mlp_norm", "q_norm", "k_norm")),
    )


class _Model(ctypes.Structure):
    _fields_ = (
        *(
            (name, ctypes.c_int32)
            for name in ("n_layers", "d_model", "n_heads", "n_kv_heads", "head_dim", "d_ff")
        ),
        ("relu2", ctypes.c_int32),
        ("norm_eps", ctypes.c_float),
        ("layers", ctypes.POINTER(_Layer)),
        ("embedding", _Matrix),
        ("head", _Matrix),
        *((name, ctypes.c_void_p) for name in ("norm", "cos", "sin")),
    )


class _Cache(ctypes.Structure):
    _fields_ = (
        ("kind", ctypes.c_int32),
        ("positions", ctypes.c_int32),
        ("keys", ctypes.POINTER(ctypes.c_void_p)),
        ("values", ctypes.POINTER(ctypes.c_void_p)),
    )


class NativeStep:
    """`decode.c` with the weights of one model.

    Args:
        library: `decode.c`, loaded.
        weights: of a model that `fits`; must not change while this lives.
    """

    def __init__(self, library: ctypes.CDLL, weights: Weights) -> None:
        for name in FUNCTIONS:
            getattr(library, name).restype = None
        self._library = library
        self._kept: list[object] = [weights]  # what C only has pointers to
        shape = weights.shape
        layers = (_Layer * shape.n_layers)(*map(self._layer, weights.layers))
        self._vocabulary = shape.vocab_size
        self._model = _Model(
            shape.n_layers,
            shape.d_model,
            shape.n_heads,
            shape.n_kv_heads,
            shape.head_dim,
            weights.d_ff,
            shape.activation == "relu2",
            shape.norm_eps,
            layers,
            self._matrix(Projection(weights.embedding)),
            self._matrix(weights.head),
            self._floats(weights.norm),
            self._floats(weights.cos),
            self._floats(weights.sin),
        )
        self._norms = [(made.attention_norm, made.mlp_norm) for made in layers]
        self._cache: _Cache | None = None
        self._first: Tensor | None = None  # of that cache; it grows in all layers at once

    @staticmethod
    def fits(weights: Weights) -> bool:
        """Whether decode.c can do this model's arithmetic."""
        shape = weights.shape
        wide = shape.d_model, shape.n_heads * shape.head_dim
        return (
            weights.device.type == "cpu"
            and weights.dtype in KINDS
            and all(width % GROUP == 0 for width in wide)
            and shape.head_dim % WIDTH == 0
        )

    def step(
        self, ids: Tensor, slots: Sequence[int], positions: Sequence[int], cache: SlotCache
    ) -> Tensor:
        """Logits of one more token of each text, before the softcap; see `Decoder.decode`."""
        B = len(slots)
        logits = torch.empty(B, self._vocabulary, dtype=torch.float32, device="cpu")
        self._library.decode(
            ctypes.byref(self._model),
            ctypes.byref(self._cache_of(cache)),
            B,
            ctypes.c_void_p(ids.data_ptr()),
            *_numbers(slots, positions),
            ctypes.c_void_p(logits.data_ptr()),
            torch.get_num_threads(),
        )
        return logits

    def batch(
        self, slots: Sequence[int], positions: Sequence[int], cache: SlotCache
    ) -> "BatchStep":
        """What a step of many texts does between its matrix products."""
        numbers = _numbers(slots, positions)
        return BatchStep(self._library, self._model, self._norms, numbers, self._cache_of(cache))

    def _cache_of(self, cache: SlotCache) -> _Cache:
        """Pointers into a cache, made again after it has grown."""
        if self._cache is None or self._first is not cache.keys[0]:
            pointers = ctypes.c_void_p * len(cache.keys)
            keys, values = (
                pointers(*(tensor.data_ptr() for tensor in tensors))
                for tensors in (cache.keys, cache.values)
            )
            self._cache = _Cache(KINDS[cache.keys[0].dtype], cache.positions, keys, values)
            self._first = cache.keys[0]
        return self._cache

    def _layer(self, layer: Layer) -> _Layer:
        parts = layer.qkv, layer.out, layer.gate_up, layer.down
        norms = layer.attention_norm, layer.mlp_norm, *(layer.head_norms or (None, None))
        return _Layer(*map(self._matrix, parts), *map(self._floats, norms))

    def _matrix(self, projection: Projection) -> _Matrix:
        quantized, weight = projection.quantized, projection.weight
        kind = KINDS[quantized.bits if quantized else weight.dtype]
        values = _flipped(quantized) if quantized else weight.contiguous()
        scales = quantized.scales.float() if quantized else None
        self._kept += [values, scales]
        return _Matrix(
            kind,
            *weight.shape,
            values.data_ptr(),
            None if scales is None else scales.data_ptr(),
            self._floats(projection.bias),
        )

    def _floats(self, tensor: Tensor | None) -> int | None:
        if tensor is None:
            return None
        floats = tensor.float().contiguous()
        self._kept.append(floats)
        return floats.data_ptr()


class BatchStep:
    """What a step of B texts does between its products, which are torch's, and in their dtype.

    The residual stream is kept in fp32. Tensors are contiguous, as products and indexing make them.

    Attributes:
        norms: of each layer, where the weights of its two norms are.
        last_norm: the same of the model's own norm.
    """

    def __init__(
        self,
        library: ctypes.CDLL,
        model: _Model,
        norms: list[tuple[int, int]],
        numbers: "list[ctypes.Array[ctypes.c_int64]]",
        cache: _Cache,
    ) -> None:
        self.norms, self.last_norm = norms, model.norm
        self._library, self._model, self._cache = library, ctypes.byref(model), ctypes.byref(cache)
        self._texts, self._numbers = len(numbers[0]), numbers  # slots and positions
        self._mixed_width, self._d_ff = model.n_heads * model.head_dim, model.d_ff
        self._threads = torch.get_num_threads()

    def attend(self, number: int, qkv: Tensor) -> Tensor:
        """Attention of layer `number`: Q, K and V [B, (H + 2 G) K] to [B, H K]."""
        mixed = qkv.new_empty(self._texts, self._mixed_width)
        self._library.attend_texts(
            self._model,
            self._cache,
            number,
            KINDS[qkv.dtype],
            self._texts,
            *self._numbers,
            *_addresses(qkv, mixed),
            self._threads,
        )
        return mixed

    def norm(self, weight: int, residual: Tensor, sublayer_out: Tensor) -> Tensor:
        """Add to the residual stream [B, D] in place, and norm the sum.

        Args:
            weight: where the norm's weight is: one of `norms`, or `last_norm`.
            residual: the stream, fp32.
            sublayer_out: what the sub-layer before gave, or the embeddings, [B, D].
        """
        assert residual.dtype == torch.float32
        normed = torch.empty_like(sublayer_out)
        kind, addresses = KINDS[normed.dtype], _addresses(residual, sublayer_out, normed)
        address = ctypes.c_void_p(weight)
        self._library.norm_texts(self._model, address, kind, self._texts, *addresses)
        return normed

    def activate(self, gate_up: Tensor) -> Tensor:
        """The gate's activation times up: [B, 2 F] to [B, F]."""
        hidden = gate_up.new_empty(self._texts, self._d_ff)
        kind, addresses = KINDS[hidden.dtype], _addresses(gate_up, hidden)
        self._library.activate_texts(self._model, kind, self._texts, *addresses, self._threads)
        return hidden


def _addresses(*tensors: Tensor) -> list[ctypes.c_void_p]:
    assert all(tensor.is_contiguous() for tensor in tensors), "C reads rows one after the other"
    return [ctypes.c_void_p(tensor.data_ptr()) for tensor in tensors]


def _numbers(*columns: Sequence[int]) -> "list[ctypes.Array[ctypes.c_int64]]":
    return [(ctypes.c_int64 * len(column))(*column) for column in columns]


def _flipped(quantized: Quantized) -> Tensor:
    """Values as decode.c wants them: the top bit of each number turned."""
    if quantized.bits == 8:
        return quantized.values.view(torch.uint8) ^ 0x80
    return quantized.values ^ 0x88
