"""Calls through Envoy, by tritonclient's gRPC client, its twin of asyncio, and grpcio as it is; ends with a failed assertion or a last
line.

    python grpc_hits.py all HOST:PORT     what the public clients get of hits and misses
    python grpc_hits.py crowd HOST:PORT   a thousand equal calls at once, of which some are cancelled
    python grpc_hits.py hurry HOST:PORT   a call that waits for an equal one, with less time than that one takes
"""
import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from samples import SAMPLES, same

ADDRESS = sys.argv[2]
OPTIONS = [("grpc.max_receive_message_length", 16 << 20), ("grpc.max_send_message_length", 16 << 20)]


def tensor(array, datatype="FP32", module=triton):
    given = module.InferInput("x", list(array.shape), datatype)
    given.set_data_from_numpy(array)
    return given


def message(array, model="identity_fp32", **more):
    request = service_pb2.ModelInferRequest(model_name=model, **more)
    request.inputs.add(name="x", datatype="FP32", shape=array.shape)
    request.raw_input_contents.append(array.tobytes())
    return request


def metadata_of(pairs):
    return {pair.key if hasattr(pair, "key") else pair[0]: pair[1] for pair in pairs}


def asked(stub, request, **more):
    """The answer, its initial metadata and its call."""
    answer, call = stub.ModelInfer.with_call(request, **more)
    return answer, metadata_of(call.initial_metadata()), call


def is_hit(metadata):
    return metadata.get("cache-status", "").split(", ")[-1].startswith("forebay; hit")


def row(number, size=1):
    return np.full((1, size), number, dtype=np.float32)


def until(is_so):
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end, "it is not so for a minute"


def sizes(stub):
    """From 20 bytes to 3 MB: a miss, then hits, with equal bytes, and metadata and trailers as of any call."""
    for size in (1, 100, 4_000, 16_000, 64_000, 250_000, 780_000):
        array = np.arange(size, dtype=np.float32).reshape(1, size)
        first, said, call = asked(stub, message(array, id="first"))
        assert not is_hit(said) and first.id == "first", (size, said)
        # Larger answers than `l1.max_entry_bytes` come of the pool, which gets them a moment later.
        if array.nbytes > 1 << 20:
            until(lambda: is_hit(asked(stub, message(array))[1]))
        for turn in range(3):
            answer, said, call = asked(stub, message(array, id=f"again-{turn}"))
            assert answer.raw_output_contents[0] == array.tobytes() and answer.id == f"again-{turn}", size
            assert is_hit(said), (size, said)
            assert call.code() == grpc.StatusCode.OK and call.details() == "", (call.code(), call.details())
            assert "age" in said and "max-age" in said["cache-control"] and len(said["x-forebay-generation"]) == 64, said
            assert not metadata_of(call.trailing_metadata()), call.trailing_metadata()
        plain, said, _ = asked(stub, message(array))
        assert is_hit(said) and plain.id == ""
    print("sizes: 7 of them, hits equal to the backend's answers", flush=True)


def datatypes():
    """tritonclient's own calls, each thrice; every datatype."""
    with triton.InferenceServerClient(ADDRESS) as client:
        for datatype, array in SAMPLES.items():
            for turn in range(3):
                result = client.infer(f"identity_{datatype.lower()}", [tensor(array, datatype)], request_id=str(turn))
                assert same(result.as_numpy("y"), array), (datatype, turn)
                assert result.get_response().id == str(turn)
        for algorithm in (None, "gzip", "deflate"):
            for value in (21.0, 21.0, 22.0):
                result = client.infer("identity_fp32", [tensor(row(value, 500))], compression_algorithm=algorithm)
                assert same(result.as_numpy("y"), row(value, 500)), algorithm
    print(f"tritonclient: {len(SAMPLES)} datatypes, compressed or not", flush=True)


def outputs(stub):
    """What is asked for comes, in that order."""
    for names in ([], ["double"], ["half"], ["half", "double"], ["double", "half"]):
        for turn in range(2):
            request = message(row(4.0), "two_outputs")
            for name in names:
                request.outputs.add(name=name)
            answer, said, _ = asked(stub, request)
            assert not names or [output.name for output in answer.outputs] == names, (names, answer)
            for output, raw in zip(answer.outputs, answer.raw_output_contents):
                assert np.frombuffer(raw, np.float32)[0] == {"double": 8.0, "half": 2.0}[output.name]
            assert is_hit(said) or turn == 0, (names, said)


def typed(stub):
    """Typed contents and raw ones ask the same."""
    request = service_pb2.ModelInferRequest(model_name="identity_fp32")
    request.inputs.add(name="x", datatype="FP32", shape=[1, 2]).contents.fp32_contents.extend([31.0, 32.0])
    first, said, _ = asked(stub, request)
    array = np.array([[31.0, 32.0]], dtype=np.float32)
    assert not is_hit(said) and first.raw_output_contents[0] == array.tobytes()
    _, said, _ = asked(stub, message(array))
    assert is_hit(said), said


def errors(stub):
    """An error is the backend's, as if nobody stood between; and a hit comes after it on the same connection."""
    wrong_shape = message(row(1.0))
    wrong_shape.inputs[0].shape[:] = [7, 7]
    cases = [
        (message(row(1.0), "nobody"), grpc.StatusCode.NOT_FOUND),
        (wrong_shape, grpc.StatusCode.INVALID_ARGUMENT),
        (service_pb2.ModelInferRequest(), grpc.StatusCode.NOT_FOUND),
    ]
    asked(stub, message(row(41.0)))
    for request, code in cases:
        for _ in range(2):
            try:
                asked(stub, request)
                raise AssertionError(f"answered: {request}")
            except grpc.RpcError as error:
                assert error.code() == code, (error.code(), code, error.details())
                assert error.details(), error
        assert is_hit(asked(stub, message(row(41.0)))[1])
    for wants, code in (("only-if-cached", grpc.StatusCode.DEADLINE_EXCEEDED), ("no-store", None), ("no-cache", None)):
        try:
            _, said, _ = asked(stub, message(row(42.0)), metadata=[("cache-control", wants)])
            assert code is None and not is_hit(said), (wants, said)
        except grpc.RpcError as error:
            assert error.code() == code and "only-if-cached" in error.details(), (wants, error)
            assert "only-if-cached" in metadata_of(error.trailing_metadata() or error.initial_metadata())["cache-status"]
    print("errors: the backend's own, and a hit behind each", flush=True)


def interleaved(stub):
    """Hits and misses at once on one connection, each with its own answer."""
    numbers = [number % 50 if number % 3 else 1000 + number for number in range(600)]
    calls = [(number, stub.ModelInfer.future(message(row(number, 300), id=str(at)))) for at, number in enumerate(numbers)]
    hits = 0
    for at, (number, call) in enumerate(calls):
        answer = call.result()
        assert answer.raw_output_contents[0] == row(number, 300).tobytes() and answer.id == str(at), (at, number)
        hits += is_hit(metadata_of(call.initial_metadata()))
    print(f"interleaved: 600 calls on one connection, {hits} hits", flush=True)


async def with_asyncio():
    async with triton_aio.InferenceServerClient(ADDRESS) as client:
        async def ask(number):
            result = await client.infer("identity_fp32", [tensor(row(number, 10), module=triton_aio)])
            assert same(result.as_numpy("y"), row(number, 10)), number

        for _ in range(3):
            await asyncio.gather(*(ask(number) for number in range(100)))
    print("tritonclient.aio: 300 calls", flush=True)


def everything(stub):
    sizes(stub)
    datatypes()
    outputs(stub)
    typed(stub)
    errors(stub)
    interleaved(stub)
    asyncio.run(with_asyncio())


def crowd(stub):
    """Equal calls while the first is computed; every seventh is cancelled, and nobody else notices."""
    request = message(row(5.0), "slow")
    calls = [stub.ModelInfer.future(request) for _ in range(1000)]
    cancelled = [call for call in calls[::7] if call.cancel()]
    answered = [call.result().raw_output_contents[0] for call in calls if call not in cancelled]
    assert set(answered) == {row(5.0).tobytes()}, set(answered)
    print(f"crowd: {len(answered)} answered, {len(cancelled)} cancelled", flush=True)


def hurry(stub):
    """A call with a third of the time that an answer takes here. On a busy machine the first may be answered before the second is
    sent: then others are tried."""
    begun = time.monotonic()
    asked(stub, message(row(49), "slow"))
    third = (time.monotonic() - begun) / 3
    with ThreadPoolExecutor() as pool:
        for number in range(50, 100):
            leader = pool.submit(asked, stub, message(row(number), "slow"))
            try:
                asked(stub, message(row(number), "slow"), timeout=third)
            except grpc.RpcError as error:
                assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
                break
            leader.result()
        else:
            raise AssertionError("all were answered in time")
        answer, said, _ = leader.result()
        assert answer.raw_output_contents[0] == row(number).tobytes(), said
    assert is_hit(asked(stub, message(row(number), "slow"))[1])


with grpc.insecure_channel(ADDRESS, options=OPTIONS) as channel:
    {"all": everything, "crowd": crowd, "hurry": hurry}[sys.argv[1]](service_pb2_grpc.GRPCInferenceServiceStub(channel))
print("all as it should be", flush=True)
