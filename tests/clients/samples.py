"""Values of every datatype, with the edges of each, and what it is to be equal."""
import ml_dtypes
import numpy as np

SAMPLES = {
    "BOOL": np.array([[True, False]]),
    "BYTES": np.array([["", "h\u00e9llo \u4e16", 'a"b\\c\n']], dtype=np.object_),
    "FP32": np.array([[0.1, -0.0, 3.4028235e38, 1e-45, np.nan, np.inf, -np.inf]], dtype=np.float32),
    "FP64": np.array([[0.1, 5e-324, 1.7976931348623157e308, np.nan, np.inf, -np.inf]], dtype=np.float64),
    "FP16": np.array([[0.5, 65504.0, 6e-8, np.nan, np.inf]], dtype=np.float16),
    "BF16": np.array([[1.0, -2.0, 3.3895e38, np.nan, np.inf]], dtype=ml_dtypes.bfloat16),
} | {
    f"{'U' if kind == 'u' else ''}INT{size * 8}": np.array([[np.iinfo(f"{kind}{size}").min, np.iinfo(f"{kind}{size}").max, 1]],
                                                          dtype=f"{kind}{size}")
    for kind in "iu" for size in (1, 2, 4, 8)
}


def same(got, sent):
    if sent.dtype == np.object_:
        # Bytes from binary tensors, text from JSON.
        return [value if isinstance(value, str) else value.decode() for value in got.flatten()] == list(sent.flatten())
    return got.dtype == sent.dtype and got.shape == sent.shape and got.tobytes() == sent.tobytes()
