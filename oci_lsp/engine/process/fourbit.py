"""NF4 products on CPUs with AVX512-BF16: few rows by bitsandbytes' kernel, many by a dense product.

bitsandbytes multiplies a few rows straight from 4 bits, and takes as long for each further row; a
prompt of some hundred rows is several times quicker as a dense bf16 product, for which the weights
are dequantised a piece at a time, small enough to stay in the processor's cache. Each needs a
layout of its own, so the weights are held twice (0.6 bytes a weight more).

The kernel is called directly: what torch and bitsandbytes do around it takes, at one row, several
times as long as the product of a small matrix.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import bitsandbytes as bnb
import torch
from bitsandbytes.functional import dequantize_blockwise, has_avx512bf16
from torch import nn

log = logging.getLogger(__name__)

BLOCK = 64
"""Weights that share a scale."""
LANES = 32
"""Output features that the kernel computes side by side: a matrix has a multiple of them."""
# Bytes of dequantised weights that are multiplied at a time.
_PIECE_BYTES = 2 << 20
# Rows from which the dense product is quicker, until it was measured on the machine at hand.
_MANY = 48
_TRIED = (2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96)
# Rows for which oneDNN's layout is chosen: the steps', it is as good for prompts.
_LAID_OUT_FOR = 16
# Steps of decoding read so many rows; where dense weights are slower for them, they only serve the
# prompt, for which they can be dequantised anew.
_WORTH_HOLDING = 10


Way = Callable[[torch.Tensor], torch.Tensor]
"""A product: of (rows, inputs), (rows, outputs)."""


class PackedWeights:
    """NF4 weights as the kernel reads them.

    Args:
        weights: `pack`ed, uint8, (outputs, inputs / 2).
        scales: bf16, (inputs / BLOCK, outputs).

    Raises:
        ValueError: they do not belong together.
    """

    def __init__(self, weights: torch.Tensor, scales: torch.Tensor) -> None:
        if scales.dtype != torch.bfloat16 or not scales.is_contiguous():
            raise ValueError("the kernel reads scales in bf16, one after the other")
        if scales.shape != (2 * weights.shape[1] // BLOCK, weights.shape[0]):
            raise ValueError(f"scales of shape {tuple(scales.shape)} do not belong to the weights")
        self.weights = weights.contiguous()
        self.scales = scales
        self.outputs, self.inputs = weights.shape[0], 2 * weights.shape[1]
        self._pointers = (
            ctypes.c_void_p(self.weights.data_ptr()),
            ctypes.c_void_p(self.scales.data_ptr()),
        )
        self._sizes = (ctypes.c_int64(self.outputs), ctypes.c_int64(self.inputs))

    @classmethod
    def of(cls, parts: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> PackedWeights:
        """Of matrices in the plain layout with their scales (`plain`), one below the other."""
        return cls(
            torch.cat([pack(weights) for weights, _ in parts]),
            torch.cat([scales.T.to(torch.bfloat16) for _, scales in parts], dim=1).contiguous(),
        )

    def product(self, given: torch.Tensor) -> torch.Tensor:
        """The product of a few bf16 rows (rows, inputs): (rows, outputs)."""
        given = given.contiguous()
        rows = given.shape[0]
        product = torch.empty((rows, self.outputs), dtype=torch.bfloat16)
        outputs, inputs = self._sizes
        _kernel()(
            ctypes.c_int64(rows),
            outputs,
            inputs,
            ctypes.c_void_p(given.data_ptr()),
            *self._pointers,
            ctypes.c_void_p(product.data_ptr()),
            ctypes.c_int64(BLOCK),
            inputs,
            outputs,
        )
        return product


class PackedLinear(nn.Module):
    """One or several NF4 layers over the same input, as one product.

    Args:
        layers: bitsandbytes' layers on the CPU, before their first use; at least one.
    """

    def __init__(self, layers: Sequence[Any]) -> None:
        super().__init__()
        self.inputs = layers[0].in_features
        self.widths = [layer.out_features for layer in layers]
        self.outputs = sum(self.widths)
        # Rows from which the dense product is taken.
        self.many = _MANY
        # For the dense product: all of it, if it is held, else what it is dequantised from.
        self._held: Way | None = None
        self._plain = [plain(layer) for layer in layers]
        self._packed = PackedWeights.of(self._plain)
        biases = [layer.bias for layer in layers]
        self.bias = (
            None
            if biases[0] is None
            else torch.cat([bias.detach().to(torch.bfloat16) for bias in biases])
        )

    @property
    def dense_bytes(self) -> int:
        """What holding the dense weights takes."""
        size: int = 2 * self.inputs * self.outputs
        return size

    def hold_dense(self) -> None:
        """Dequantise the weights for good: more memory, less time for each dense product."""
        if self._held is None:
            dense = torch.empty((self.outputs, self.inputs), dtype=torch.bfloat16)
            for at, weights in self._pieces():
                dense[at : at + weights.shape[0]] = weights
            self._held = dense_product(dense)
            self._plain = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The product of (..., inputs) as (..., outputs), computed in bf16."""
        given = x.reshape(-1, self.inputs).to(torch.bfloat16)
        product = self.dense(given) if given.shape[0] >= self.many else self.fused(given)
        if self.bias is not None:
            product += self.bias
        return product.view(*x.shape[:-1], self.outputs).to(x.dtype)

    def fused(self, given: torch.Tensor) -> torch.Tensor:
        """The product of a few rows (rows, inputs), straight from 4 bits."""
        return self._packed.product(given)

    def dense(self, given: torch.Tensor) -> torch.Tensor:
        """The product of many rows (rows, inputs), with dense weights."""
        if self._held is not None:
            return self._held(given)
        product = torch.empty((given.shape[0], self.outputs), dtype=torch.bfloat16)
        for at, weights in self._pieces():
            torch.mm(given, weights.T, out=product[:, at : at + weights.shape[0]])
        return product

    def _pieces(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Dequantised weights (some outputs, inputs), each with its first output."""
        step = max(LANES, _PIECE_BYTES // (2 * self.inputs) // LANES * LANES)
        at = 0
        for part, scales in self._plain:
            for start in range(0, part.shape[0], step):
                rows = part[start : start + step]
                weights = torch.ops.bitsandbytes.dequantize_4bit(
                    rows,
                    scales[start : start + step].reshape(-1),
                    BLOCK,
                    "nf4",
                    [rows.shape[0], self.inputs],
                    torch.bfloat16,
                )
                yield at, weights
                at += rows.shape[0]


def dense_product(weights: torch.Tensor) -> Way:
    """The product with dense bf16 weights (outputs, inputs).

    oneDNN lays weights out anew for each product, which takes a third of the time, unless they
    are given in its own layout, as torch's compiler does when it freezes a model.
    """

    if not _lays_out():
        return lambda given: torch.mm(given, weights.T)
    laid_out = torch.ops.mkldnn._reorder_linear_weight(weights, _LAID_OUT_FOR)
    product = torch.ops.mkldnn._linear_pointwise
    return lambda given: product(given, laid_out, None, "none", [], "")


@functools.cache
def _lays_out() -> bool:
    """Whether this torch has the products with oneDNN's layout, and computes what it should."""
    weights = torch.randn(2 * BLOCK, 2 * BLOCK, dtype=torch.bfloat16)
    given = torch.randn(2, 2 * BLOCK, dtype=torch.bfloat16)
    try:
        laid_out = torch.ops.mkldnn._reorder_linear_weight(weights, _LAID_OUT_FOR)
        product = torch.ops.mkldnn._linear_pointwise(given, laid_out, None, "none", [], "")
    except (AttributeError, RuntimeError) as error:
        log.info("oneDNN's layout cannot be used: %s", error)
        return False
    expected = torch.mm(given, weights.T)
    return torch.allclose(product, expected, atol=0.02 * float(expected.abs().max()))


def pack(weights: torch.Tensor) -> torch.Tensor:
    """bitsandbytes' plain layout (out, in / 2) in the one that its AVX512 kernel reads.

    Plain, a byte holds two neighbouring inputs of one output, the first in the high half. Packed,
    blocks of 32 outputs lie together, and for each pair of inputs 32 bytes: outputs 0 to 15 in the
    low halves, 16 to 31 in the high ones, the two inputs side by side. The same as
    `bitsandbytes.functional._convert_weight_packed_for_cpu`, without its detour through 32 bits.
    """
    outputs, pairs = weights.shape
    blocks = weights.view(outputs // LANES, LANES, pairs).transpose(1, 2).contiguous()
    low, high = blocks[..., : LANES // 2], blocks[..., LANES // 2 :]
    packed = torch.empty_like(blocks)
    packed[..., 0::2] = (low >> 4) | (high & 0xF0)
    packed[..., 1::2] = (low & 0x0F) | (high << 4)
    return packed.view(outputs, pairs)


def plain(layer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """A layer's weights (out, in / 2) and scales (out, in / BLOCK; float32) as they were saved."""
    state = layer.weight.quant_state
    scales = state.absmax
    if state.nested:
        scales = dequantize_blockwise(scales, state.state2) + state.offset
    return (
        layer.weight.data.view(torch.uint8).view(layer.out_features, -1),
        scales.float().view(layer.out_features, -1).contiguous(),
    )


def install(model: nn.Module) -> int:
    """Replace each NF4 layer of a model by a product of its own; how many."""
    found = [(name, layer) for name, layer in model.named_modules() if suits(layer)]
    for name, layer in found:
        model.set_submodule(name, PackedLinear([layer]))
    return len(found)


def make_dense(model: nn.Module, dtype: torch.dtype) -> None:
    """Replace the NF4 layers of a model by dense ones of the same values, and all else's type."""
    for name, layer in list(model.named_modules()):
        if not isinstance(layer, bnb.nn.Linear4bit):
            continue
        with torch.device("meta"):
            dense = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
        weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
        dense.weight = nn.Parameter(weight.to(dtype), requires_grad=False)
        if layer.bias is not None:
            dense.bias = nn.Parameter(layer.bias.detach().to(dtype), requires_grad=False)
        model.set_submodule(name, dense)
    # Not the model's own `to`: transformers refuses it for what was loaded in 4 bits.
    nn.Module.to(model, dtype)


@functools.cache
def _kernel() -> Any:
    """bitsandbytes' product of a few bf16 rows with packed NF4 weights."""
    from bitsandbytes.cextension import lib

    return lib.gemv_4bit_inference_cpu_nf4_bf16


def suits(layer: nn.Module) -> bool:
    """Whether a layer can become (part of) a `PackedLinear`."""
    if not isinstance(layer, bnb.nn.Linear4bit):
        return False
    state = layer.weight.quant_state
    return (
        layer.weight.device.type == "cpu"
        and state is not None
        and state.quant_type == "nf4"
        and state.blocksize == BLOCK
        and layer.out_features % LANES == 0
        and layer.in_features % BLOCK == 0
    )


@functools.cache
def is_available() -> bool:
    """Whether this CPU and this bitsandbytes have the kernel, and it computes what it should."""
    if not has_avx512bf16():
        return False
    try:
        layer = quantised(torch.randn(LANES * 2, BLOCK * 2, dtype=torch.bfloat16))
        packed = PackedLinear([layer])
        given = torch.randn(3, layer.in_features, dtype=torch.bfloat16)
        fused, dense = packed.fused(given), packed.dense(given)
    except (AttributeError, OSError, RuntimeError) as error:
        log.warning("bitsandbytes' packed product cannot be used: %s", error)
        return False
    if torch.allclose(fused.float(), dense.float(), atol=0.05 * float(dense.abs().max())):
        return True
    log.warning("bitsandbytes' packed product is not what it was: the slower one is used")
    return False


def quantised(
    weight: torch.Tensor, bias: torch.Tensor | None = None, device: str | None = None
) -> Any:
    """A dense weight (out, in) as bitsandbytes' NF4 layer on a device, by default the weight's."""
    outputs, inputs = weight.shape
    with torch.device("meta"):
        layer = bnb.nn.Linear4bit(
            inputs,
            outputs,
            bias=bias is not None,
            compute_dtype=torch.bfloat16,
            compress_statistics=True,
            quant_type="nf4",
        )
    layer.weight = bnb.nn.Params4bit(
        weight,
        requires_grad=False,
        compress_statistics=True,
        quant_type="nf4",
        module=layer,
    ).to(device or weight.device)
    if bias is not None:
        layer.bias = nn.Parameter(bias, requires_grad=False)
    return layer


def calibrate(products: Sequence[PackedLinear], spare_bytes: int) -> int:
    """Choose, by measuring, from how many rows the dense product is taken, and hold it if it pays.

    Dense weights are held where a few rows are quicker with them already, as with matrix units
    (AMX), and where they take no more than `spare_bytes`. The number of rows.
    """
    largest = max(products, key=lambda product: product.dense_bytes)
    if sum(product.dense_bytes for product in products) <= spare_bytes:
        held = dense_product(torch.zeros((largest.outputs, largest.inputs), dtype=torch.bfloat16))
        if crossing(largest.inputs, largest.fused, held) <= _WORTH_HOLDING:
            for product in products:
                product.hold_dense()
    many = crossing(largest.inputs, largest.fused, largest.dense)
    for product in products:
        product.many = many
    return many


def crossing(inputs: int, few: Way, many: Way) -> int:
    """Rows (of so many inputs) from which the way for many is quicker than the one for few."""
    for rows in _TRIED:
        given = torch.ones((rows, inputs), dtype=torch.bfloat16)
        if _seconds(many, given) < _seconds(few, given):
            return rows
    return _TRIED[-1] * 2


def _seconds(way: Way, given: torch.Tensor) -> float:
    way(given)
    trials = []
    for _ in range(3):
        start = time.perf_counter()
        way(given)
        trials.append(time.perf_counter() - start)
    return min(trials)
