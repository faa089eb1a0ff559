"""Reads what `serve --record` recorded of a model: a second implementation of backend/src/record/segment.rs, by which the tests see that
files are as it says. Arguments: folder, file with the key in hex, model. Prints a line of JSON for each record: time_ms, is_whole, version,
outputs, and inputs as [name, datatype, shape, values in hex]; ends with code 1 and a line for what is no segment under that key."""

import hmac
import json
import struct
import sys
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from tritonclient.grpc.service_pb2 import ModelInferRequest

MAGIC = b"forebay.record.2"
HEADER = 2**64 - 1
INPUTS, END, WHOLE = 1, 2, 3


def hkdf(salt, key, info, length):
    extracted = hmac.digest(salt, key, sha256)
    return hmac.digest(extracted, info + b"\1", sha256)[:length]


def key_id(key):
    return hkdf(b"forebay.record key id", key, b"id", 8)


def nonce(number):
    return bytes(4) + struct.pack("<Q", number)


def header(key, salt, began_ms, model):
    name = model.encode()
    return MAGIC + key_id(key) + salt + struct.pack("<QH", began_ms, len(name)) + name


def read(data, key):
    """The model, then the time, whether it is whole, and the request of each record."""
    if data[:16] != MAGIC:
        raise ValueError("no segment")
    began_ms, length = struct.unpack_from("<QH", data, 56)
    at = 66 + length
    head, tag = data[:at], data[at:at + 16]
    model = head[66:].decode()
    if head != header(key, data[24:56], began_ms, model):
        raise ValueError("another key")
    seal = AESGCM(hkdf(data[24:56], key, head, 32))
    seal.decrypt(nonce(HEADER), tag, b"")
    at += 16
    records, number = [], 0
    while at < len(data):
        beside = data[at:at + 4]
        (length,) = struct.unpack("<I", beside)
        plain = seal.decrypt(nonce(number), data[at + 4:at + 4 + length], beside)
        at += 4 + length
        kind, told = struct.unpack_from("<BQ", plain)
        if kind == END:
            assert told == number and at == len(data)
            break
        assert kind in (INPUTS, WHOLE)
        records.append((told, kind == WHOLE, ModelInferRequest.FromString(plain[9:])))
        number += 1
    return model, records


def write(key, salt, began_ms, model, records):
    """A finished segment of times, whether they are whole, and requests."""
    head = header(key, salt, began_ms, model)
    seal = AESGCM(hkdf(salt, key, head, 32))
    parts = [head, seal.encrypt(nonce(HEADER), b"", b"")]
    plains = [
        struct.pack("<BQ", WHOLE if is_whole else INPUTS, time) + request.SerializeToString()
        for time, is_whole, request in records
    ]
    for number, plain in enumerate([*plains, struct.pack("<BQ", END, len(records))]):
        beside = struct.pack("<I", len(plain) + 16)
        parts += [beside, seal.encrypt(nonce(number), plain, beside)]
    return b"".join(parts)


def golden():
    """What the backend's tests compare with (backend/src/record/golden-2.record)."""
    began_ms = 1_800_000_000_000
    records = []
    for number, values in enumerate([b"abc", b"", b"defg"]):
        is_whole = bool(values)
        request = ModelInferRequest(model_name="m", model_version="" if is_whole else "2", raw_input_contents=[values])
        request.inputs.add(name="x", datatype="UINT8", shape=[len(values)])
        if is_whole:
            request.outputs.add(name="y")
        records.append((began_ms + number, is_whole, request))
    return write(bytes([7] * 32), bytes([5] * 32), began_ms, "m", records)


def main():
    if sys.argv[1:] == ["--golden"]:
        sys.stdout.buffer.write(golden())
        return
    folder, key_file, wanted = sys.argv[1:]
    key = bytes.fromhex(Path(key_file).read_text().strip())
    for path in sorted(Path(folder).glob("*.record")):
        try:
            model, records = read(path.read_bytes(), key)
        except (ValueError, InvalidTag) as error:
            sys.exit(f"{path}: {type(error).__name__} {error}")
        if model != wanted:
            continue
        for time_ms, is_whole, request in records:
            assert request.model_name == wanted
            inputs = [
                [tensor.name, tensor.datatype, list(tensor.shape), values.hex()]
                for tensor, values in zip(request.inputs, request.raw_input_contents, strict=True)
            ]
            outputs = [output.name for output in request.outputs]
            said = {"time_ms": time_ms, "is_whole": is_whole, "version": request.model_version, "outputs": outputs}
            print(json.dumps({**said, "inputs": inputs}))


main()
