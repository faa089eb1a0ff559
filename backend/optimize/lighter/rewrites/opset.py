"""An older opset's model enters, the same model in opset 17 leaves: the first that has LayerNormalization, and
per-channel Q/DQ works in.

onnx's converter does it. It knows no operators but ONNX' own, so it goes before the fusions.
"""

import onnx

from ..model import opset
from ..refusal import Refused, one_line

WANTED = 17


def apply(model):
    before = opset(model)
    if before >= WANTED:
        return None
    try:
        converted = onnx.version_converter.convert_version(model, WANTED)
    except Exception as error:  # noqa: BLE001
        raise Refused(f"the model doesn't convert from opset {before} to {WANTED}: {one_line(error)}") from error
    # The converter forgets what it has no place for.
    converted.metadata_props.extend(entry for entry in model.metadata_props if entry not in converted.metadata_props)
    model.CopyFrom(converted)
    return f"opset {before} to {WANTED}"
