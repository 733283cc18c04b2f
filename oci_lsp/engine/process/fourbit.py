"""NF4 products on CPUs with AVX512-BF16: few rows by bitsandbytes' kernel, many by a dense product.

bitsandbytes multiplies a few rows straight from 4 bits, and takes as long for each further row; a
prompt of some hundred rows is several times quicker as a dense bf16 product, for which the weights
are dequantised a piece at a time, small enough to stay in the processor's cache. Each needs a
layout of its own, so the weights are held twice (0.6 bytes a weight more).

The kernels are called directly, without bitsandbytes' Python part: what torch and bitsandbytes do
around one takes, at one row, several times as long as the product of a small matrix, and importing
bitsandbytes takes a second, since it imports torch's compiler.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from oci_lsp.engine.process.measured import Measured

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


class Plain(NamedTuple):
    """NF4 weights as they are saved: uint8, (out, in / 2), and scales in float32 (out, in / BLOCK).

    A byte holds two neighbouring inputs of one output, the first in the high half.
    """

    weights: torch.Tensor
    scales: torch.Tensor


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
        if weights.dtype != torch.uint8:
            raise ValueError("the kernel reads bytes of two weights each")
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
    def of(cls, parts: Sequence[Plain]) -> PackedWeights:
        """Of matrices in the plain layout, one below the other."""
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
    """One or several NF4 matrices over the same input, as one product.

    Args:
        parts: the matrices, one below the other, each (some outputs, inputs); at least one.
        bias: bf16 (outputs,).
        packed: all of them as the kernel reads them; None: it is made.
    """

    def __init__(
        self,
        parts: Sequence[Plain],
        bias: torch.Tensor | None = None,
        packed: PackedWeights | None = None,
    ) -> None:
        super().__init__()
        self.widths = [part.weights.shape[0] for part in parts]
        self.packed = packed or PackedWeights.of(parts)
        self.inputs, self.outputs = self.packed.inputs, self.packed.outputs
        self.bias = bias
        # Rows from which the dense product is taken.
        self.many = _MANY
        # Whether dense weights are kept from the first dense product on: more memory, less time.
        self.holds = False
        # What they are made from, and they themselves once they are held.
        self.parts = list(parts)
        self._held: Way | None = None

    @property
    def packed_bytes(self) -> int:
        """What the weights and scales take as the kernel reads them."""
        return self.packed.weights.nbytes + self.packed.scales.nbytes

    @property
    def dense_bytes(self) -> int:
        """What holding the dense weights takes."""
        size: int = 2 * self.inputs * self.outputs
        return size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The product of (..., inputs) as (..., outputs), computed in bf16."""
        given = x.reshape(-1, self.inputs).to(torch.bfloat16)
        product = self.dense(given) if given.shape[0] >= self.many else self.fused(given)
        if self.bias is not None:
            product += self.bias
        return product.view(*x.shape[:-1], self.outputs).to(x.dtype)

    def fused(self, given: torch.Tensor) -> torch.Tensor:
        """The product of a few rows (rows, inputs), straight from 4 bits."""
        return self.packed.product(given)

    def dense(self, given: torch.Tensor) -> torch.Tensor:
        """The product of many rows (rows, inputs), with dense weights."""
        if self.holds and self._held is None:
            try:
                self._held = dense_product(self._dense_weights())
            except (MemoryError, RuntimeError) as error:
                # Others have taken the memory since the start; what there is will do.
                log.warning("Dense weights are not held: %s", error)
                self.holds = False
            else:
                self.parts = []
        if self._held is not None:
            return self._held(given)
        product = torch.empty((given.shape[0], self.outputs), dtype=torch.bfloat16)
        for at, weights in self._pieces():
            torch.mm(given, weights.T, out=product[:, at : at + weights.shape[0]])
        return product

    def _dense_weights(self) -> torch.Tensor:
        dense = torch.empty((self.outputs, self.inputs), dtype=torch.bfloat16)
        for at, weights in self._pieces():
            dense[at : at + weights.shape[0]] = weights
        return dense

    def _pieces(self) -> Iterator[tuple[int, torch.Tensor]]:
        """Dequantised weights (some outputs, inputs), each with its first output."""
        step = max(LANES, _PIECE_BYTES // (2 * self.inputs) // LANES * LANES)
        at = 0
        for part in self.parts:
            for start in range(0, part.weights.shape[0], step):
                piece = Plain(*(each[start : start + step] for each in part))
                yield at, dequantised(piece)
                at += piece.weights.shape[0]


def dequantised(part: Plain) -> torch.Tensor:
    """The dense bf16 matrix (out, in) that a part stands for."""
    weights, scales = (each.contiguous() for each in part)
    outputs, inputs = weights.shape[0], 2 * weights.shape[1]
    dense = torch.empty((outputs, inputs), dtype=torch.bfloat16)
    _library().cdequantize_blockwise_cpu_nf4_bf16(
        ctypes.c_void_p(weights.data_ptr()),
        ctypes.c_void_p(scales.data_ptr()),
        ctypes.c_void_p(dense.data_ptr()),
        ctypes.c_longlong(BLOCK),
        ctypes.c_longlong(outputs),
        ctypes.c_longlong(inputs),
    )
    return dense


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


@functools.cache
def _library() -> ctypes.CDLL:
    """bitsandbytes' compiled functions for CPUs.

    Raises:
        OSError: there are none.
    """
    package = importlib.util.find_spec("bitsandbytes")
    ending = {"darwin": ".dylib", "win32": ".dll"}.get(sys.platform, ".so")
    if package is None or package.origin is None:
        raise OSError("bitsandbytes is not installed")
    return ctypes.CDLL(str(Path(package.origin).with_name(f"libbitsandbytes_cpu{ending}")))


@functools.cache
def _kernel() -> Any:
    """Its product of a few bf16 rows with packed NF4 weights."""
    return _library().gemv_4bit_inference_cpu_nf4_bf16


@functools.cache
def is_available() -> bool:
    """Whether this CPU and this bitsandbytes have the kernel, and it computes what it should."""
    random = torch.Generator().manual_seed(0)
    outputs, inputs = 2 * LANES, 2 * BLOCK
    part = Plain(
        torch.randint(256, (outputs, inputs // 2), dtype=torch.uint8, generator=random),
        torch.rand((outputs, inputs // BLOCK), generator=random),
    )
    given = torch.randn((3, inputs), generator=random).to(torch.bfloat16)
    try:
        has_units = _library().has_avx512bf16_cpu
        has_units.restype = ctypes.c_bool
        if not has_units():
            return False
        product = PackedLinear([part])
        fused, dense = product.fused(given), product.dense(given)
    except (AttributeError, OSError, RuntimeError) as error:
        log.warning("bitsandbytes' packed product cannot be used: %s", error)
        return False
    if torch.allclose(fused.float(), dense.float(), atol=0.05 * float(dense.abs().max())):
        return True
    log.warning("bitsandbytes' packed product is not what it was: the slower one is used")
    return False


def calibrate(
    products: Sequence[PackedLinear], spare_bytes: int, measured: Measured | None = None
) -> int:
    """Choose, by measuring, from how many rows the dense product is taken, and hold it if it pays.

    Dense weights are held where a few rows are quicker with them already, as with matrix units
    (AMX), and where they take no more than `spare_bytes`. The number of rows.
    """
    largest = max(products, key=lambda product: product.dense_bytes)
    shape = (largest.outputs, largest.inputs)
    measured = measured or Measured()

    def with_held() -> int:
        held = dense_product(torch.zeros(shape, dtype=torch.bfloat16))
        return crossing(largest.inputs, largest.fused, held)

    def with_dequantised() -> int:
        return crossing(largest.inputs, largest.fused, largest.dense)

    many = _WORTH_HOLDING + 1
    if sum(product.dense_bytes for product in products) <= spare_bytes:
        many = measured.get("rows from which held dense weights are quicker", with_held)
    holds = many <= _WORTH_HOLDING
    if not holds:
        many = measured.get("rows from which dequantised weights are quicker", with_dequantised)
    for product in products:
        product.many = many
        product.holds = holds
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
