"""A loop over one ONNX model with nothing around it: the base of the backend's row.

    python bare_loop.py MODEL SECONDS      prints: RUNS SECONDS
"""
import sys
import time

import numpy as np
import onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
feed = {"bytes": np.full((1, 2048), 65, dtype=np.int32)}
for _ in range(3):
    session.run(None, feed)
runs, start = 0, time.perf_counter()
while time.perf_counter() - start < float(sys.argv[2]):
    session.run(None, feed)
    runs += 1
print(runs, time.perf_counter() - start)
