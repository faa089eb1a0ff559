"""The entry: a process that has one verb, one job and one reply."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import onnxruntime
from rig import FOLDER, Tools, model, node, perceptron, set_memory

from lighter import verbs


class Entry(Tools):
    def process(self, *arguments, job=b"{}"):
        program = [sys.executable, "-I", "-B", os.path.join(FOLDER, "tools.py"), *arguments]
        return subprocess.run(program, input=job, capture_output=True, timeout=60, check=False)

    def test_says_the_versions_of_what_changes_a_variant(self):
        done = self.process("versions")
        self.assertEqual(done.returncode, 0, done.stderr)
        reply = json.loads(done.stdout.splitlines()[-1])
        self.assertEqual(reply["onnxruntime"], onnxruntime.__version__)
        self.assertLessEqual({"python", "onnx", "numpy", "onnxsim"}, reply.keys())

    def test_a_failure_is_one_line_and_exit_code_one(self):
        done = self.process("inspect", job=b'{"model": "/nowhere/model.onnx"}')
        self.assertEqual(done.returncode, 1)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 1)
        self.assertIn("/nowhere/model.onnx can't be read: No such file", json.loads(lines[0])["error"])

    def test_more_memory_than_the_job_allows_is_one_line(self):
        # Two products of 512 MiB each.
        big = model([node("MatMul", ["x", "x"], ["y"]), node("Exp", ["y"], ["z"])], {"x": ["n", "n"]}, {"z": ["n", "n"]}, {})
        samples = self.samples([{"x": np.zeros((11585, 11585), np.float32)}])
        job = {"model": self.save(big), "samples": samples, "out": self.path("r"), "memory_bytes": 512 << 20}
        done = self.process("ranges", job=json.dumps(job).encode())
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("more memory than it may have", json.loads(done.stdout)["error"])
        self.assertFalse(os.path.exists(self.path("r")))

    def test_a_full_disk_is_one_line_and_leaves_nothing(self):
        path = self.save(perceptron(self.rng))
        before = sorted(os.listdir(self.scratch.name))
        job = json.dumps({"model": path, "out": self.path("out.onnx")}).encode()
        # To a process, a file that may not grow is a disk that is full.
        program = [sys.executable, "-I", "-B", os.path.join(FOLDER, "tools.py"), "prepare"]
        limit = f"""import resource, os
resource.setrlimit(resource.RLIMIT_FSIZE, (999, 999))
os.execv({program[0]!r}, {program!r})
"""
        done = subprocess.run([sys.executable, "-c", limit], input=job, capture_output=True, timeout=60, check=False)
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("out.onnx can't be written: File too large", json.loads(done.stdout)["error"])
        self.assertEqual(sorted(os.listdir(self.scratch.name)), before)

    def test_onnxruntime_is_the_one_that_the_backend_loads(self):
        versions = []
        for folder in (FOLDER, os.path.join(FOLDER, "../../xtask")):
            with open(os.path.join(folder, "requirements.in"), encoding="utf-8") as file:
                versions += [line for line in file if line.startswith("onnxruntime==")]
        self.assertEqual(versions[0], versions[1])

    def test_jobs_that_are_none_are_refused(self):
        for arguments, text, words in (
            ([], b"{}", "one verb is wanted"),
            (["paint"], b"{}", "one verb is wanted"),
            (["inspect"], b"{", "no JSON"),
            (["inspect"], b"[" * 100_000, "no JSON"),
            (["inspect"], b"[]", "must be a JSON object"),
            (["inspect"], b"{}", "no 'model'"),
            (["inspect"], b'{"model": 3}', "'model' must be a text"),
            (["inspect"], b'{"model": "a", "modle": "b"}', "unknown field 'modle'"),
        ):
            reply, status = verbs.call(arguments, io.BytesIO(text))
            self.assertEqual(status, 1)
            self.assertIn(words, reply["error"])

    def test_memory_below_what_the_libraries_want_is_refused(self):
        with self.assertRaisesRegex(Exception, "at least"):
            set_memory({"memory_bytes": 1})
