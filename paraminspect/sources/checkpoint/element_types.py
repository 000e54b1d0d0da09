"""The element types of files: the name torch gives each, and how many bits an element takes."""

from __future__ import annotations

from typing import Final

SAFETENSORS: Final[dict[str, tuple[str, int]]] = {
    "BOOL": ("bool", 8),
    "F4": ("float4_e2m1fn_x2", 4),
    "F6_E2M3": ("F6_E2M3", 6),
    "F6_E3M2": ("F6_E3M2", 6),
    "U8": ("uint8", 8),
    "I8": ("int8", 8),
    "F8_E5M2": ("float8_e5m2", 8),
    "F8_E4M3": ("float8_e4m3fn", 8),
    "F8_E8M0": ("float8_e8m0fnu", 8),
    "F8_E4M3FNUZ": ("float8_e4m3fnuz", 8),
    "F8_E5M2FNUZ": ("float8_e5m2fnuz", 8),
    "I16": ("int16", 16),
    "U16": ("uint16", 16),
    "F16": ("float16", 16),
    "BF16": ("bfloat16", 16),
    "I32": ("int32", 32),
    "U32": ("uint32", 32),
    "F32": ("float32", 32),
    "C64": ("complex64", 64),
    "F64": ("float64", 64),
    "I64": ("int64", 64),
    "U64": ("uint64", 64),
}
"""The 22 types of safetensors 0.8: torch's name, the file's where torch has none, and the bits of an element."""

STORAGES: Final[dict[str, tuple[str, int]]] = {
    "DoubleStorage": ("float64", 64),
    "FloatStorage": ("float32", 32),
    "HalfStorage": ("float16", 16),
    "BFloat16Storage": ("bfloat16", 16),
    "LongStorage": ("int64", 64),
    "IntStorage": ("int32", 32),
    "ShortStorage": ("int16", 16),
    "CharStorage": ("int8", 8),
    "ByteStorage": ("uint8", 8),
    "BoolStorage": ("bool", 8),
    "ComplexDoubleStorage": ("complex128", 128),
    "ComplexFloatStorage": ("complex64", 64),
    "QInt8Storage": ("qint8", 8),
    "QUInt8Storage": ("quint8", 8),
    "QInt32Storage": ("qint32", 32),
    "QUInt4x2Storage": ("quint4x2", 8),
    "QUInt2x4Storage": ("quint2x4", 8),
    "UntypedStorage": ("uint8", 8),
}
"""The classes of storages that torch.save names, and what they hold."""

TORCH_BITS: Final[dict[str, int]] = {
    **{name: bits for name, bits in SAFETENSORS.values() if not name.startswith("F")},
    **dict(STORAGES.values()),
    "float8_e4m3fn": 8,
    "float4_e2m1fn_x2": 8,
    "complex32": 32,
}
"""How many bits torch keeps an element of a dtype in; one of ``float4_e2m1fn_x2`` is two numbers."""
