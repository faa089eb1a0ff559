"""Nothing enters, the versions of all that may change a variant leave."""

import platform
from importlib.metadata import version

PACKAGES = ("ml_dtypes", "numpy", "onnx", "onnxruntime", "onnxsim", "protobuf")


def run(_job):
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
