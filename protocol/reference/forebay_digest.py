#!/usr/bin/env python3
"""Forebay's digest, keys and entries, a second time: written from FORMAT.md alone, so that the tests can compare.

Needs Python 3.9 and the package `blake3`.

    python3 forebay_digest.py ../golden/2/requests.json ../golden/2/entries.json     checks golden vectors
    python3 forebay_digest.py                   answers questions on stdin, a JSON object a line, on stdout
"""

import json
import struct
import sys

from blake3 import blake3

REQUEST_TRANSPORT = {"binary_data_output", "priority", "timeout"}
INPUT_TRANSPORT = {"binary_data_size"}
OUTPUT_TRANSPORT = {"binary_data"}
INTEGERS = {
    "UINT8": "<B", "UINT16": "<H", "UINT32": "<I", "UINT64": "<Q",
    "INT8": "<b", "INT16": "<h", "INT32": "<i", "INT64": "<q",
}
FLOATS = {"FP32": "<f", "FP64": "<d"}
MIN_I64, MAX_I64, MAX_U64 = -(2**63), 2**63 - 1, 2**64 - 1


class Uncacheable(Exception):
    """The request has no digest."""


# --- fields -----------------------------------------------------------------------------------------------------------


def u64(number):
    return struct.pack("<Q", number)


def i64(number):
    return struct.pack("<q", number)


def field(data):
    if isinstance(data, str):
        data = data.encode()
    return u64(len(data)) + data


def scope(service, tenant):
    return field(service) + (b"\x00" if tenant is None else b"\x01" + field(tenant))


def blake(*parts):
    return blake3(b"".join(parts)).digest()


def value(parameter):
    if isinstance(parameter, bool):
        return b"\x01" + u64(int(parameter))
    if isinstance(parameter, int) and MIN_I64 <= parameter <= MAX_I64:
        return b"\x02" + i64(parameter)
    if isinstance(parameter, int) and 0 <= parameter <= MAX_U64:
        return b"\x05" + u64(parameter)
    if isinstance(parameter, str):
        return b"\x03" + field(parameter)
    return b"\x04" + struct.pack("<d", float(parameter))


def parameters(found, transport):
    counted = sorted((name.encode(), v) for name, v in (found or {}).items() if name not in transport)
    return u64(len(counted)) + b"".join(field(name) + value(v) for name, v in counted)


# --- requests ---------------------------------------------------------------------------------------------------------


def without_twins(pairs):
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError("a key comes twice")
    return dict(pairs)


def flat(data):
    for element in data:
        if isinstance(element, list):
            yield from flat(element)
        else:
            yield element


def raw_of_json(datatype, data):
    if datatype == "BOOL":
        return b"".join(b"\x01" if element else b"\x00" for element in flat(data))
    if datatype == "BYTES":
        texts = [element.encode() for element in flat(data)]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    if datatype in FLOATS:
        return b"".join(struct.pack(FLOATS[datatype], float(element)) for element in flat(data))
    return b"".join(struct.pack(INTEGERS[datatype], element) for element in flat(data))


def split(body, header_length):
    """JSON, and the raw values of each input."""
    head = body if header_length is None else body[:header_length]
    rest = b"" if header_length is None else body[header_length:]
    request = json.loads(head, object_pairs_hook=without_twins)
    raws = []
    for tensor in request["inputs"]:
        size = (tensor.get("parameters") or {}).get("binary_data_size")
        if size is None:
            raws.append(raw_of_json(tensor["datatype"], tensor.get("data") or []))
        else:
            raws.append(rest[:size])
            rest = rest[size:]
    if rest:
        raise ValueError("bytes are left over")
    return request, raws


def refuse_state(request):
    if any(name.startswith("sequence_") for name in request.get("parameters") or {}):
        raise Uncacheable("sequence")
    for tensor in request["inputs"] + (request.get("outputs") or []):
        if any(name.startswith("shared_memory_") for name in tensor.get("parameters") or {}):
            raise Uncacheable("shared memory")


def digest(service, tenant, model, version, body, header_length=None):
    request, raws = split(body, header_length)
    refuse_state(request)
    hashed = [field("forebay/digest/2"), scope(service, tenant), field(model), field(version)]
    hashed.append(parameters(request.get("parameters"), REQUEST_TRANSPORT))
    inputs = sorted(zip(request["inputs"], raws), key=lambda pair: pair[0]["name"].encode())
    hashed.append(u64(len(inputs)))
    for tensor, raw in inputs:
        hashed += [field(tensor["name"]), field(tensor["datatype"]), u64(len(tensor["shape"]))]
        hashed += [i64(dimension) for dimension in tensor["shape"]]
        hashed += [parameters(tensor.get("parameters"), INPUT_TRANSPORT), field(raw)]
    outputs = sorted(request.get("outputs") or [], key=lambda output: output["name"].encode())
    hashed.append(u64(len(outputs)))
    for output in outputs:
        hashed += [field(output["name"]), parameters(output.get("parameters"), OUTPUT_TRANSPORT)]
    return blake(*hashed)


def raw_key(service, tenant, *parts):
    """The parts: path, content type, header length, accept, accept-encoding, body."""
    return blake(field("forebay/raw-key/2"), scope(service, tenant), *map(field, parts))


def key(generation, service, tenant, digest):
    return blake(field("forebay/key/2"), field(generation), scope(service, tenant), field(digest))


# --- entries ----------------------------------------------------------------------------------------------------------


def purged(generation, number):
    return blake(field("forebay/purged/1"), field(generation), u64(number)) if number else generation


def dropped(digest, number):
    return blake(field("forebay/purged-digest/1"), field(digest), u64(number)) if number else digest


def mac(tag, plain, key, secret):
    mac_key = blake3(secret, derive_key_context="forebay 2026 entry MAC secret v1").digest()
    return blake3(field(tag) + field(key) + field(plain), key=mac_key).digest()


def varint(data, at):
    number, shift = 0, 0
    while True:
        byte = data[at]
        at, number, shift = at + 1, number | (byte & 0x7F) << shift, shift + 7
        if byte < 0x80:
            return number, at


def protobuf(data):
    """Field number -> list of values: integers, or bytes."""
    fields, at = {}, 0
    while at < len(data):
        tag, at = varint(data, at)
        if tag & 7 == 0:
            found, at = varint(data, at)
        elif tag & 7 == 1:
            found, at = data[at : at + 8], at + 8
        elif tag & 7 == 2:
            size, at = varint(data, at)
            found, at = data[at : at + size], at + size
        else:
            raise ValueError(f"wire type {tag & 7}")
        fields.setdefault(tag >> 3, []).append(found)
    return fields


def packed(blocks):
    numbers = []
    for block in blocks:
        at = 0
        while at < len(block):
            number, at = varint(block, at)
            numbers.append(number - 2**64 if number > MAX_I64 else number)
    return numbers


def text(fields, number):
    return fields.get(number, [b""])[-1].decode()


def tensor_of(data, raw):
    fields = protobuf(data)
    return {
        "name": text(fields, 1),
        "datatype": text(fields, 2),
        "shape": packed(fields.get(3, [])),
        "raw": raw.hex(),
    }


def open_entry(sealed, key, secret, unpacked=None):
    tags = {b"FBE2": "forebay/entry/2", b"FBE3": "forebay/entry/3"}
    if sealed[:4] not in tags or len(sealed) < 36:
        raise ValueError("not a sealed entry")
    plain = sealed[36:]
    if mac(tags[sealed[:4]], plain, key, secret) != sealed[4:36]:
        raise ValueError("wrong MAC")
    if sealed[:4] == b"FBE3":
        # What a zstd decompressor makes of the rest is told: there is none in the standard library of older Pythons.
        if int.from_bytes(plain[:4], "little") != len(unpacked):
            raise ValueError("not of the length that it says")
        plain = unpacked
    fields = protobuf(plain)
    response = protobuf(fields[1][-1])
    outputs, raws = response.get(5, []), response.get(6, [])
    if len(outputs) != len(raws):
        raise ValueError("one raw content an output is expected")
    names = {3: "cost_us", 4: "created_ms", 5: "max_age_s", 6: "stale_while_revalidate_s", 7: "stale_if_error_s"}
    entry = {name: fields.get(number, [0])[-1] for number, name in names.items()}
    entry["generation"] = fields[2][-1].hex()
    entry["model_name"], entry["model_version"] = text(response, 1), text(response, 2)
    kept = [protobuf(field) for field in fields.get(8, [])]
    entry["fields"] = [[text(field, 1), field.get(2, [b""])[-1].hex()] for field in kept]
    entry["outputs"] = [tensor_of(output, raw) for output, raw in zip(outputs, raws)]
    return entry


# --- questions --------------------------------------------------------------------------------------------------------


def answer(question):
    """All that FORMAT.md says about a request, a sealed entry, or a generation that was purged."""
    binary = {name[:-4]: bytes.fromhex(v) for name, v in question.items() if name.endswith("_hex")}
    if "sealed" in binary:
        key_bytes, unpacked = bytes.fromhex(question["key"]), binary.get("unpacked")
        return {"entry": open_entry(binary["sealed"], key_bytes, binary["secret"], unpacked)}
    if "number" in question:
        number = question["number"]
        if "digest" in question:
            return {"dropped": dropped(bytes.fromhex(question["digest"]), number).hex()}
        return {"purged": purged(bytes.fromhex(question["generation"]), number).hex()}
    whose = (question["service"], question["tenant"])
    length = question["header_length"]
    found = {
        "raw_key": raw_key(
            *whose, question["path"], question["content_type"], "" if length is None else str(length),
            question["accept"], question["accept_encoding"], binary["body"],
        ).hex()
    }
    try:
        hashed = digest(*whose, question["model"], question["version"], binary["body"], length)
    except Uncacheable as reason:
        return {**found, "uncacheable": str(reason)}
    generation = bytes.fromhex(question["generation"])
    return {**found, "digest": hashed.hex(), "key": key(generation, *whose, hashed).hex()}


def check(path):
    with open(path, encoding="utf-8") as file:
        vectors = json.load(file)
    wrong = [vector["name"] for vector in vectors if answer(vector) != vector["expected"]]
    print(f"{path}: {len(vectors)} vectors, wrong: {', '.join(wrong) or 'none'}")
    return not wrong


def main():
    if len(sys.argv) > 1:
        sys.exit(0 if all([check(path) for path in sys.argv[1:]]) else 1)
    for line in sys.stdin:
        try:
            found = answer(json.loads(line))
        except Exception as error:  # the one who asks decides what an error means
            found = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
