"""A loop over one ONNX model with nothing around it: the base of the server's rows.

    python bare_loop.py MODEL SECONDS ROWS      prints: RUNS SECONDS P50_US
"""
import sys
import time

import numpy as np
import onnxruntime

path, seconds, rows = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
feed = {}
for tensor in session.get_inputs():
    shape = [size if isinstance(size, int) else rows for size in tensor.shape]
    if tensor.type == "tensor(int32)":
        feed[tensor.name] = np.full(shape, 65, dtype=np.int32)
    else:
        feed[tensor.name] = (np.arange(np.prod(shape), dtype=np.float32) / 10_000).reshape(shape)
for _ in range(3):
    session.run(None, feed)
times, start = [], time.perf_counter()
while time.perf_counter() - start < seconds:
    began = time.perf_counter()
    session.run(None, feed)
    times.append(time.perf_counter() - began)
print(len(times), time.perf_counter() - start, int(np.median(times) * 1e6))
