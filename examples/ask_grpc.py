"""Asks the model `double` three times over gRPC, and prints what it answers and how long that took.

Calls over gRPC pass the filter: the server's own cache answers the second and third.

    python ask_grpc.py [HOST:PORT]      # needs tritonclient[grpc] and numpy
"""
import sys
import time

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

address = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8080"
stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(address))

x = np.array([[1, 2, 3, 4]], dtype=np.float32)
request = service_pb2.ModelInferRequest(
    model_name="double",
    inputs=[service_pb2.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=x.shape)],
    raw_input_contents=[x.tobytes()],
)
for _ in range(3):
    since = time.monotonic()
    answer = stub.ModelInfer(request, timeout=10)
    y = np.frombuffer(answer.raw_output_contents[0], dtype=np.float32)
    print(y.tolist(), f"{(time.monotonic() - since) * 1e3:.2f} ms")
