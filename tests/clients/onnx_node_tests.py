"""Serves the node tests of the onnx 1.17 wheel, each as a model, and compares what comes back with what the test expects, in
each encoding asked for. `cargo xtask test` asks for one; all of them, in about half a minute, by

    python onnx_node_tests.py .forebay/onnx-node-tests HTTP_HOST:PORT REPOSITORY binary json grpc=GRPC_HOST:PORT

with `forebay serve --model-control-mode explicit --model-repository REPOSITORY`, a folder that exists and is empty. The word
`io_binding` among the encodings has the sessions bind inputs and outputs, as those on a GPU do. Left out are
tests with types that V2 can't carry and those that ONNX Runtime in process can't run or answers otherwise; the counts say how
many. Ends with a failed assertion or a last line.
"""
import collections
import pathlib
import shutil
import sys

import numpy as np
import onnx
import onnxruntime
import tritonclient.grpc as grpc
import tritonclient.http as http
from onnx import numpy_helper
from tritonclient.utils import np_to_triton_dtype

DATA, ADDRESS, REPOSITORY, *ENCODINGS = sys.argv[1:]
IO_BINDING = "io_binding" in ENCODINGS
ENCODINGS = [encoding for encoding in ENCODINGS if encoding != "io_binding"] or ["binary"]
# onnx's own tolerances (onnx.backend.test.runner).
RTOL, ATOL = 1e-3, 1e-7
# As many pass at least, whatever the versions of ONNX Runtime: fewer means that something was not asked for.
LEAST = 1000
CLIENT = http.InferenceServerClient(ADDRESS, network_timeout=60)
OPTIONS = onnxruntime.SessionOptions()
OPTIONS.log_severity_level = 4


def arrays(folder, kind):
    """Names are the graph's; None if one is no tensor."""
    found = []
    for index in range(len(list(folder.glob(f"{kind}_*.pb")))):
        tensor = onnx.TensorProto()
        tensor.ParseFromString((folder / f"{kind}_{index}.pb").read_bytes())
        found.append(numpy_helper.to_array(tensor))
    return found


def same(got, expected):
    if expected.dtype.kind in "OSU":
        text = lambda value: value.decode() if isinstance(value, bytes) else str(value)
        return [text(value) for value in got.flatten()] == [text(value) for value in expected.flatten()]
    try:
        np.testing.assert_allclose(got, expected, rtol=RTOL, atol=ATOL)
    except AssertionError:
        return False
    return got.dtype == expected.dtype and got.shape == expected.shape


def seen(array):
    """A scalar has dimensions [1] for clients, as Triton's."""
    return array.reshape(1) if array.shape == () else array


def ask(model, inputs, outputs, encoding, grpc_client):
    module, client = (grpc, grpc_client) if encoding == "grpc" else (http, CLIENT)
    more = {} if encoding == "grpc" else {"binary_data": encoding == "binary"}
    given = []
    for name, array in inputs:
        tensor = module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array, **more)
        given.append(tensor)
    result = client.infer(model, given, outputs=[module.InferRequestedOutput(name, **more) for name in outputs])
    return [result.as_numpy(name) for name in outputs]


def case(folder, counts):
    model = onnx.load(folder / "model.onnx")
    graph = model.graph
    if any(not value.type.HasField("tensor_type") for value in [*graph.input, *graph.output]):
        return counts.update(["left out: a sequence, map or optional"])
    cases = sorted(folder.glob("test_data_set_*"))
    data = [(arrays(each, "input"), arrays(each, "output")) for each in cases]
    if any(np_to_triton_dtype(array.dtype) is None or array.dtype.kind in "cV" for inputs, outputs in data for array in inputs + outputs):
        return counts.update(["left out: a type without a name in V2"])
    names = [value.name for value in graph.input]
    outputs = [value.name for value in graph.output]
    try:
        session = onnxruntime.InferenceSession(str(folder / "model.onnx"), OPTIONS, providers=["CPUExecutionProvider"])
        here = [session.run(outputs, dict(zip(names, inputs))) for inputs, _ in data]
    except Exception:
        return counts.update(["left out: ONNX Runtime can't run it"])
    if not all(same(got, want) for results, (_, expected) in zip(here, data) for got, want in zip(results, expected)):
        return counts.update(["left out: ONNX Runtime answers otherwise"])
    to = pathlib.Path(REPOSITORY) / folder.name / "1"
    to.mkdir(parents=True)
    shutil.copy(folder / "model.onnx", to)
    if IO_BINDING:
        (to.parent / "config.pbtxt").write_text('parameters { key: "io_binding" value { string_value: "1" } }')
    CLIENT.load_model(folder.name)
    try:
        for encoding in ENCODINGS:
            for inputs, expected in data:
                if encoding == "json" and any(array.dtype.name in ("float16", "bfloat16") for array in inputs + expected):
                    counts.update(["json: no such form of FP16 and BF16"])
                    continue
                got = ask(folder.name, list(zip(names, map(seen, inputs))), outputs, encoding, GRPC)
                wrong = [name for name, value, want in zip(outputs, got, map(seen, expected)) if not same(value, want)]
                counts.update([f"{encoding}: passed" if not wrong else f"{encoding}: FAILED"])
                if wrong:
                    FAILED.append((folder.name, encoding, wrong))
    except Exception as error:
        counts.update(["FAILED"])
        FAILED.append((folder.name, str(error)[:200]))
    finally:
        CLIENT.unload_model(folder.name)
        shutil.rmtree(to.parent)


FAILED = []
GRPC = None
if ENCODINGS[-1].startswith("grpc="):
    GRPC = grpc.InferenceServerClient(ENCODINGS.pop()[5:])
    ENCODINGS.append("grpc")
counts = collections.Counter()
for folder in sorted(pathlib.Path(DATA).iterdir()):
    if (folder / "model.onnx").is_file():
        counts.update(["tests"])
        case(folder, counts)
for what, count in sorted(counts.items()):
    print(f"{count:5} {what}")
for failure in FAILED:
    print("FAILED", *failure)
assert not FAILED
assert all(counts[f"{encoding}: passed"] >= LEAST for encoding in ENCODINGS), "too few were asked for"
print("all as it should be")
