"""Asks every test model with tritonclient over gRPC, and what only the server itself answers over all four clients; ends with
a failed assertion or a last line. The models add_fp32, identity_*, slow, two_outputs and uncached must be served, loading by
call allowed.

    python triton_full_client.py HTTP_HOST:PORT GRPC_HOST:PORT
"""
import asyncio
import queue
import sys

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.grpc.aio as grpc_aio
import tritonclient.http as http
import tritonclient.http.aio as http_aio
from tritonclient.grpc import service_pb2 as pb
from tritonclient.utils import InferenceServerException

from samples import SAMPLES, same

HTTP, GRPC = sys.argv[1:]
TYPED = {"BOOL": "bool_contents", "BYTES": "bytes_contents", "FP32": "fp32_contents", "FP64": "fp64_contents",
         "INT64": "int64_contents", "UINT64": "uint64_contents"}


def tensor(module, name, array, datatype):
    result = module.InferInput(name, list(array.shape), datatype)
    result.set_data_from_numpy(array)
    return result


def fails(call, code, text):
    try:
        call()
    except InferenceServerException as error:
        assert code in str(error.status()) and text in error.message(), error
    else:
        raise AssertionError(f"no error; {code} {text!r} was expected")


def raw_and_typed(client):
    stub = client._client_stub
    for datatype, array in SAMPLES.items():
        model = f"identity_{datatype.lower()}"
        result = client.infer(model, [tensor(grpc, "x", array, datatype)], request_id=datatype)
        assert same(result.as_numpy("y"), array), (datatype, result.as_numpy("y"))
        assert result.get_response().id == datatype
        field = TYPED.get(datatype, "uint_contents" if datatype.startswith("U") else "int_contents")
        request = pb.ModelInferRequest(model_name=model)
        given = request.inputs.add(name="x", datatype=datatype, shape=array.shape)
        values = array.flatten().tolist()
        getattr(given.contents, field).extend([value.encode() for value in values] if datatype == "BYTES" else [
            int(value) if field == "int_contents" and datatype in ("FP16", "BF16") else value for value in values]
            if datatype not in ("FP16", "BF16") else [1] * array.size)
        if datatype in ("FP16", "BF16"):
            try:
                stub.ModelInfer(request)
            except Exception as error:
                assert error.code().name == "INVALID_ARGUMENT" and datatype in error.details(), error
            else:
                raise AssertionError(f"{datatype} was taken from typed contents")
        else:
            answer = stub.ModelInfer(request)
            assert answer.raw_output_contents == result.get_response().raw_output_contents, datatype
    print("every datatype over gRPC, raw and typed", flush=True)


def described(clients):
    for client in clients:
        json = {"as_json": True} if isinstance(client, grpc.InferenceServerClient) else {}
        assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("add_fp32")
        assert not client.is_model_ready("nope")
        assert client.get_server_metadata(**json)["name"] == "forebay"
        metadata = client.get_model_metadata("two_outputs", **json)
        assert [output["name"] for output in metadata["outputs"]] == ["double", "half"], metadata
        config = client.get_model_config("two_outputs", **json)
        assert config.get("config", config)["backend"] == "onnxruntime"
        statistics = client.get_inference_statistics("identity_fp32", **json)["model_stats"][0]
        assert int(statistics["inference_stats"]["success"]["count"]) > 0, statistics
        index = client.get_model_repository_index(**json)
        index = index.get("models", []) if json else index
        assert {"name": "slow", "version": "1", "state": "READY"}.items() <= next(m for m in index if m["name"] == "slow").items()
        client.unload_model("uncached")
        assert not client.is_model_ready("uncached")
        client.load_model("uncached", config='{"max_batch_size": 2}')
        assert client.get_model_config("uncached", **json).get("config", client.get_model_config("uncached", **json))["max_batch_size"] == 2
        client.load_model("uncached")
        fails(lambda: client.load_model("nope"), "NOT_FOUND" if json else "404", "failed to load 'nope'")
        fails(lambda: client.get_model_metadata("nope"), "NOT_FOUND" if json else "404", "unknown model: 'nope'")
        fails(lambda: client.register_system_shared_memory("r", "/k", 8), "UNIMPLEMENTED" if json else "501", "shared memory")
        assert client.update_log_settings({"log_verbose_level": 0}, **json)
        trace = client.get_trace_settings(model_name="add_fp32", **json)
        assert trace.get("settings", trace)["trace_level"] in (["OFF"], {"value": ["OFF"]}), trace
        fails(lambda: client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]}), "UNIMPLEMENTED" if json else "501", "mode=opentelemetry")
        assert not client.get_system_shared_memory_status(**json).get("regions") if json else client.get_system_shared_memory_status() == []
    print("metadata, configuration, statistics, repository: HTTP and gRPC", flush=True)


def outputs_and_errors(clients):
    a = np.array([[1.0, 4.0]], dtype=np.float32)
    for client in clients:
        module = grpc if isinstance(client, grpc.InferenceServerClient) else http
        wanted = [module.InferRequestedOutput("half"), module.InferRequestedOutput("double", class_count=1)]
        result = client.infer("two_outputs", [tensor(module, "x", a, "FP32")], outputs=wanted, priority=1, timeout=10_000_000)
        assert same(result.as_numpy("half"), a / 2)
        assert result.as_numpy("double").tolist() == [b"8.000000:1"], result.as_numpy("double")
        fails(lambda: client.infer("add_fp32", [tensor(module, "a", a, "FP32")]),
              "INVALID_ARGUMENT" if module is grpc else "400", "expected 2 inputs but got 1")
        slow = [tensor(module, "x", a, "FP32")]
        if module is grpc:
            unseen = [tensor(module, "x", a + 7, "FP32")]
            fails(lambda: client.infer("slow", unseen, client_timeout=0.001), "DEADLINE_EXCEEDED", "eadline")
            for algorithm in ("gzip", "deflate"):
                assert same(client.infer("slow", slow, compression_algorithm=algorithm).as_numpy("y"), a)
        else:
            for algorithm in ("gzip", "deflate"):
                result = client.infer("slow", slow, request_compression_algorithm=algorithm,
                                      response_compression_algorithm=algorithm)
                assert same(result.as_numpy("y"), a)
    print("outputs, classification, compression, deadlines, errors", flush=True)


def streams(client):
    answers = queue.Queue()
    client.start_stream(callback=lambda result, error: answers.put((result, error)))
    for index in range(20):
        model = "nope" if index == 7 else ("slow", "identity_fp32")[index % 2]
        array = np.full((1, 3), index, dtype=np.float32)
        client.async_stream_infer(model, [tensor(grpc, "x", array, "FP32")], request_id=str(index))
    for index in range(20):
        result, error = answers.get(timeout=30)
        if index == 7:
            assert "unknown model" in error.message(), error
        else:
            assert error is None and result.get_response().id == str(index), (index, error)
            assert result.as_numpy("y")[0, 0] == index
    client.stop_stream()
    call = client.async_infer("slow", [tensor(grpc, "x", np.zeros((1, 1), np.float32), "FP32")], callback=lambda *_: None)
    call.cancel()
    print("streams in order, a wrong request among them, a call cancelled", flush=True)


async def aio():
    a = np.array([[2.0, 3.0]], dtype=np.float32)
    for module, plain, address in ((http_aio, http, HTTP), (grpc_aio, grpc, GRPC)):
        async with module.InferenceServerClient(address) as client:
            assert await client.is_server_ready()
            asks = [client.infer("identity_fp32", [tensor(plain, "x", a + index, "FP32")]) for index in range(16)]
            for index, result in enumerate(await asyncio.gather(*asks)):
                assert same(result.as_numpy("y"), a + index)
    async with grpc_aio.InferenceServerClient(GRPC) as client:
        async def requests():
            for index in range(5):
                yield {"model_name": "identity_fp32", "inputs": [tensor(grpc, "x", a + index, "FP32")], "request_id": str(index)}
        ids = [result.get_response().id async for result, _ in client.stream_infer(requests())]
        assert ids == ["0", "1", "2", "3", "4"], ids
    print("both asynchronous clients", flush=True)


clients = [http.InferenceServerClient(HTTP), grpc.InferenceServerClient(GRPC)]
raw_and_typed(clients[1])
described(clients)
outputs_and_errors(clients)
streams(clients[1])
asyncio.run(aio())
print("all as it should be")
