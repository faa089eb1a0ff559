"""Asks with the KServe SDK's clients, V1 and V2 over REST and V2 over gRPC; ends with a failed assertion or a last line. Not
part of `cargo xtask test`, for the SDK brings 450 MB along: pip install kserve==0.21.0 into an environment of its own. The
models add_fp32 and identity_* must be served.

    python kserve_client.py HTTP_HOST:PORT GRPC_HOST:PORT
"""
import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

from samples import SAMPLES, same

HTTP, GRPC = f"http://{sys.argv[1]}", sys.argv[2]


def request(model, binary=False, **arrays):
    inputs = []
    for name, (array, datatype) in arrays.items():
        given = InferInput(name, list(array.shape), datatype)
        given.set_data_from_numpy(array, binary_data=binary)
        inputs.append(given)
    return InferRequest(model_name=model, infer_inputs=inputs, request_id="7")


async def main():
    v1 = InferenceRESTClient(RESTConfig(protocol="v1"))
    v2 = InferenceRESTClient(RESTConfig(protocol="v2"))
    grpc = InferenceGRPCClient(GRPC)
    a, b = np.array([[1.0, 2.0]], dtype=np.float32), np.array([[3.0, 4.0]], dtype=np.float32)
    assert await v2.is_server_ready(HTTP) and await v2.is_server_live(HTTP) and await v2.is_model_ready(HTTP, "add_fp32")
    assert await grpc.is_server_ready() and await grpc.is_server_live() and await grpc.is_model_ready("add_fp32")
    answer = await v1.infer(HTTP, {"instances": [{"a": [1.0], "b": [3.0]}]}, model_name="add_fp32")
    assert answer == {"predictions": [[4.0]]}, answer
    sums = {"a": (a, "FP32"), "b": (b, "FP32")}
    for answer in (await v2.infer(HTTP, request("add_fp32", **sums), model_name="add_fp32"),
                   await v2.infer(HTTP, request("add_fp32", binary=True, **sums), model_name="add_fp32"),
                   await grpc.infer(request("add_fp32", **sums))):
        assert answer.id == "7" and answer.outputs[0].as_numpy().tolist() == [[4.0, 6.0]], answer
    for datatype, array in SAMPLES.items():
        if datatype == "BF16":
            continue  # numpy's own types are what the SDK knows
        answer = await grpc.infer(request(f"identity_{datatype.lower()}", binary=datatype == "FP16", x=(array, datatype)))
        assert same(answer.outputs[0].as_numpy(), array), (datatype, answer)
    try:
        await v2.infer(HTTP, request("nope", **sums), model_name="nope")
    except Exception as error:
        assert "404" in str(error), error
    else:
        raise AssertionError("an unknown model answered")
    print("all as it should be")


asyncio.run(main())
