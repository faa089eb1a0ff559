"""Asks every test model through Envoy with tritonclient[http], as its users do; ends with a failed assertion or a last line.

    python triton_client.py HOST:PORT
"""
import sys

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from samples import SAMPLES, same

client = triton.InferenceServerClient(sys.argv[1])

def tensor(name, array, datatype, binary):
    result = triton.InferInput(name, list(array.shape), datatype)
    result.set_data_from_numpy(array, binary_data=binary)
    return result


def ask(model, inputs, outputs=None, **more):
    """The result and the answer's Cache-Status."""
    result = client.infer(model, inputs, outputs=outputs, **more)
    return result, result.get_response()


def identities():
    for datatype, array in SAMPLES.items():
        forms = (True,) if datatype in ("FP16", "BF16") else (True, False)
        for binary in forms:
            for time in range(3):
                inputs = [tensor("x", array, datatype, binary)]
                outputs = [triton.InferRequestedOutput("y", binary_data=binary)]
                result, response = ask(f"identity_{datatype.lower()}", inputs, outputs, request_id=f"{datatype}-{time}")
                assert same(result.as_numpy("y"), array), (datatype, binary, time, result.as_numpy("y"), array)
                assert response["id"] == f"{datatype}-{time}", response
        print(f"identity of {datatype}: as it was sent, in {len(forms)} encodings", flush=True)


def others():
    a, b = np.array([[1.0, 2.0]], dtype=np.float32), np.array([[10.0, 20.0]], dtype=np.float32)
    for binary in (True, False):
        for inputs in ([("a", a), ("b", b)], [("b", b), ("a", a)]):
            result, _ = ask("add_fp32", [tensor(name, array, "FP32", binary) for name, array in inputs])
            assert same(result.as_numpy("sum"), a + b)
    for _ in range(2):
        result, _ = ask("scalar_fp32", [tensor("x", np.array([2.5], dtype=np.float32), "FP32", True)])
        assert result.as_numpy("y").shape == (1,) and result.as_numpy("y") == 2.5
    for names in (["double"], ["half"], ["double", "half"], None):
        outputs = names and [triton.InferRequestedOutput(name) for name in names]
        for _ in range(2):
            result, _ = ask("two_outputs", [tensor("x", a, "FP32", True)], outputs)
            got = {output["name"] for output in result.get_response()["outputs"]}
            assert got == set(names or ["double", "half"]), (names, got)
            for name in got:
                assert same(result.as_numpy(name), a * {"double": np.float32(2), "half": np.float32(0.5)}[name])


def compressed():
    """A compressed request passes the filter uncached; the backend inflates it."""
    array = SAMPLES["FP32"]
    for algorithm in ("gzip", "deflate"):
        result, _ = ask("identity_fp32", [tensor("x", array, "FP32", True)], request_compression_algorithm=algorithm)
        assert same(result.as_numpy("y"), array)


def real_models():
    inputs = lambda: [tensor("input", np.linspace(-0.5, 0.5, 576, dtype=np.float32).reshape(1, 576), "FP32", True),
                      tensor("state", np.zeros((2, 1, 128), dtype=np.float32), "FP32", True)]
    first, _ = ask("vad", inputs())
    again, _ = ask("vad", inputs())
    assert first.as_numpy("output").shape == (1, 1) and first.as_numpy("stateN").shape == (2, 1, 128)
    assert same(again.as_numpy("stateN"), first.as_numpy("stateN"))
    data = np.full((1, 2048), 256, dtype=np.int32)
    first, _ = ask("magika", [tensor("bytes", data, "INT32", True)])
    again, _ = ask("magika", [tensor("bytes", data, "INT32", True)])
    assert first.as_numpy("target_label").shape == (1, 214)
    assert same(again.as_numpy("target_label"), first.as_numpy("target_label"))


def errors():
    for model, inputs in (("nope", [tensor("x", SAMPLES["FP32"], "FP32", True)]),
                          ("identity_fp32", [tensor("wrong", SAMPLES["FP32"], "FP32", True)]),
                          ("identity_fp32", [tensor("x", SAMPLES["INT32"], "INT32", True)])):
        try:
            ask(model, inputs)
        except InferenceServerException as error:
            assert error.status() and error.message(), error
        else:
            raise AssertionError(f"{model} took {inputs[0].name()}")


assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("vad")
assert client.get_model_metadata("add_fp32")["name"] == "add_fp32"
identities()
others()
compressed()
real_models()
errors()
print("all as it should be")
