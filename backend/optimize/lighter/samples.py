"""A folder of `000000.npz`, ... and the inputs of a session enter, one run's inputs after the other leave, each checked.

One is in memory at a time.
"""

import os
import zipfile

import numpy as np

from .refusal import Refused

TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}


class Samples:
    def __init__(self, folder, count=None):
        try:
            entries = sorted(name for name in os.listdir(folder) if name.endswith(".npz"))
        except OSError as error:
            raise Refused(f"the samples {folder} can't be read: {error.strerror}") from error
        if not entries:
            raise Refused(f"there are no samples (000000.npz, ...) in {folder}")
        if count is not None and count < 1:
            raise Refused(f"'count' must be at least 1, not {count}")
        self.files = [os.path.join(folder, name) for name in entries[:count]]

    def __len__(self):
        return len(self.files)

    def of(self, inputs):
        """One run's inputs after the other, as those inputs of a session want them."""
        for file in self.files:
            yield checked(read(file), inputs, os.path.basename(file))


def read(file):
    try:
        # Opened here, so that it is closed whatever NumPy makes of it.
        with open(file, "rb") as content, np.load(content, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    # zlib's and NumPy's own errors come out of a damaged file too.
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise Refused(f"sample {os.path.basename(file)} is no .npz of plain arrays: {error}") from error
    except Exception as error:
        if type(error).__module__ == "zlib":
            raise Refused(f"sample {os.path.basename(file)} is damaged: {error}") from error
        raise


def checked(arrays, inputs, file):
    wanted = {value.name: value for value in inputs}
    for name in sorted(arrays.keys() - wanted.keys()):
        raise Refused(f"sample {file} has {name!r}, which is no input of the model; its inputs are {', '.join(wanted)}")
    for name in wanted.keys() - arrays.keys():
        raise Refused(f"sample {file} lacks the input {name!r}")
    return {name: one(arrays[name], value, file) for name, value in wanted.items()}


def one(array, value, file):
    kind = TYPES.get(value.type)
    if kind is None:
        raise Refused(f"input {value.name!r} is a {value.type}; samples can't hold those")
    if kind is np.object_:
        if array.dtype.kind not in "US":
            raise Refused(f"sample {file} has {value.name!r} as {array.dtype}, the model wants texts")
        array = np.char.decode(array, "utf-8") if array.dtype.kind == "S" else array
        array = array.astype(np.object_)
    elif array.dtype != kind:
        raise Refused(f"sample {file} has {value.name!r} as {array.dtype}, the model wants {np.dtype(kind)}")
    shape = [dim if isinstance(dim, int) and dim > 0 else None for dim in value.shape]
    if len(shape) != array.ndim or any(
        want is not None and want != have for want, have in zip(shape, array.shape, strict=True)
    ):
        wants = "x".join("?" if dim is None else str(dim) for dim in shape)
        raise Refused(f"sample {file} has {value.name!r} as {'x'.join(map(str, array.shape))}, the model wants {wants}")
    return array
