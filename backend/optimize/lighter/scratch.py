"""Where libraries put their temporary files: a folder beside what a verb writes, gone when the verb ends."""

import contextlib
import os
import tempfile

from .refusal import Refused


@contextlib.contextmanager
def beside(out):
    try:
        folder = tempfile.TemporaryDirectory(
            prefix=f".{os.path.basename(out)}.", suffix=".part", dir=os.path.dirname(os.path.abspath(out))
        )
    except OSError as error:
        raise Refused(f"{out} can't be written: {error.strerror}") from error
    with folder as path:
        before, tempfile.tempdir = tempfile.tempdir, path
        try:
            yield path
        finally:
            tempfile.tempdir = before
