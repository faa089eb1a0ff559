"""A model's file enters, a checked model in memory leaves; and a model in memory enters, a whole file leaves.

Weights that a model keeps in other files are read only from its own folder, and are all in memory afterwards: nothing later,
ONNX Runtime included, opens a file that a model names.
"""

import os

import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper

from .bounds import MODEL_BYTES
from .refusal import Refused

# Types of which several numbers are in a byte.
BITS = {
    onnx.TensorProto.INT4: 4,
    onnx.TensorProto.UINT4: 4,
    onnx.TensorProto.FLOAT4E2M1: 4,
    onnx.TensorProto.INT2: 2,
    onnx.TensorProto.UINT2: 2,
    onnx.TensorProto.FLOAT6E2M3: 6,
    onnx.TensorProto.FLOAT6E3M2: 6,
}

# Older files may not have weights that aren't inputs; newer ones are left as they are.
IR_VERSION = 8


def load(path):
    try:
        size = os.path.getsize(path)
        if size > MODEL_BYTES:
            raise Refused(f"{path} has {size} bytes; models are at most {MODEL_BYTES}")
        with open(path, "rb") as file:
            content = file.read(MODEL_BYTES + 1)
    except OSError as error:
        raise Refused(f"{path} can't be read: {error.strerror}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise Refused(f"{path} is no ONNX model, or a damaged one") from error
    if not model.graph.node or not model.graph.output:
        raise Refused(f"{path} is no ONNX model: it has no nodes or no outputs")
    bring_weights(model, os.path.dirname(os.path.abspath(path)))
    whole(model)
    weights_apart(model)
    return model


def bring_weights(model, folder):
    """Puts weights of other files into the model."""
    room = MODEL_BYTES - model.ByteSize()
    folder = os.path.realpath(folder)
    for tensor in tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        path = os.path.realpath(os.path.join(folder, location))
        if not location or os.path.isabs(location) or os.path.commonpath([folder, path]) != folder:
            raise Refused(f"weight {tensor.name!r} is in {location!r}, outside of the model's folder")
        try:
            if not os.path.isfile(path):
                raise Refused(f"weight {tensor.name!r} is in {location!r}, which is no file")
            offset = number(entries.get("offset", "0"), tensor)
            length = number(entries.get("length", str(os.path.getsize(path) - offset)), tensor)
            room -= length
            if room < 0:
                raise Refused(f"the model's weights are larger than {MODEL_BYTES} bytes")
            with open(path, "rb") as file:
                file.seek(offset)
                tensor.raw_data = file.read(length)
        except OSError as error:
            raise Refused(f"{location} can't be read: {error.strerror}") from error
        if len(tensor.raw_data) != length:
            raise Refused(f"weight {tensor.name!r} wants {length} bytes at {offset} of {location!r}, which ends before")
        del tensor.external_data[:]
        tensor.data_location = onnx.TensorProto.DEFAULT
    assert not any(external_data_helper.uses_external_data(tensor) for tensor in tensors(model))


def number(text, tensor):
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Refused(f"weight {tensor.name!r} has {text!r} as offset or length")
    return int(text)


def whole(model):
    """Whether every tensor is made by something, and every weight has as many bytes as its shape says."""
    graph = model.graph
    known = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
    known |= {tensor.values.name for tensor in graph.sparse_initializer}
    known |= {output for node in graph.node for output in node.output}
    for node in graph.node:
        for name in node.input:
            if name and name not in known:
                raise Refused(f"node {node.name or node.op_type!r} reads {name!r}, which nothing makes")
    for value in graph.output:
        if value.name not in known:
            raise Refused(f"nothing makes the output {value.name!r}")
    for tensor in graph.initializer:
        if any(dim < 0 for dim in tensor.dims):
            raise Refused(f"weight {tensor.name!r} has a dimension below zero")
        if (
            tensor.HasField("raw_data")
            and tensor.data_type != onnx.TensorProto.STRING
            and len(tensor.raw_data) != size(tensor)
        ):
            raise Refused(f"weight {tensor.name!r} has {len(tensor.raw_data)} bytes, its shape wants {size(tensor)}")


def weights_apart(model):
    """Takes weights out of the inputs, where old files list them too."""
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    if len(inputs) != len(model.graph.input):
        del model.graph.input[:]
        model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, IR_VERSION)


def save(model, out):
    """Writes all of the file or nothing."""
    if model.ByteSize() > MODEL_BYTES:
        raise Refused(f"the variant has {model.ByteSize()} bytes; models are at most {MODEL_BYTES}")
    write(model.SerializeToString(deterministic=True), out)


def write(content, out):
    fresh = os.path.join(os.path.dirname(os.path.abspath(out)), f".{os.path.basename(out)}.{os.getpid()}.part")
    try:
        with open(fresh, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, out)
    except OSError as error:
        raise Refused(f"{out} can't be written: {error.strerror}") from error
    finally:
        if os.path.exists(fresh):
            os.remove(fresh)


def graphs(graph, depth=0):
    """The graph (or function) and the graphs inside of its nodes."""
    if depth > 64:
        raise Refused("the model's graphs are nested deeper than 64")
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from graphs(attribute.g, depth + 1)
            for inner in attribute.graphs:
                yield from graphs(inner, depth + 1)


def tensors(model):
    """Every tensor that a file may hold."""
    for one in (one for whole in (model.graph, *model.functions) for one in graphs(whole)):
        if isinstance(one, onnx.GraphProto):
            yield from one.initializer
            for sparse in one.sparse_initializer:
                yield from (sparse.values, sparse.indices)
        for node in one.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                for sparse in (
                    *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
                    *attribute.sparse_tensors,
                ):
                    yield from (sparse.values, sparse.indices)


def opset(model, domain=""):
    for entry in model.opset_import:
        if entry.domain in ((domain,) if domain else ("", "ai.onnx")):
            return entry.version
    return 0


def want_domain(model, domain, version=1):
    if not opset(model, domain):
        model.opset_import.append(onnx.helper.make_opsetid(domain, version))


def size(tensor):
    """Bytes of a weight by its shape and type."""
    count = 1
    for dim in tensor.dims:
        count *= dim
    try:
        item = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except KeyError:
        raise Refused(f"weight {tensor.name!r} has an unknown type {tensor.data_type}") from None
    return (count * BITS[tensor.data_type] + 7) // 8 if tensor.data_type in BITS else count * item
