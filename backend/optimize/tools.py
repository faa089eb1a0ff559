"""The tools of `forebay optimize`: a job enters on stdin, a reply leaves on stdout.

    python -I -B tools.py VERB < job.json

The job is one JSON object, the reply is one JSON object on the last line. Exit code 1 and `{"error": "one line"}` say that
nothing was written. What the libraries print goes to stderr. Verbs write only where the job says; the same job gives the
same bytes. What a verb does is in `lighter/`, named as the verb is.
"""

import json
import os
import sys

# Sums in one order, whatever the machine; ONNX Runtime's threads are the job's.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def main(arguments):
    # Libraries print from C++ too, so the reply keeps descriptor 1 for itself and they get a copy of 2.
    reply = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    from lighter import verbs

    answer, status = verbs.call(arguments[1:], sys.stdin.buffer)
    json.dump(answer, reply, sort_keys=True, allow_nan=False)
    reply.write("\n")
    reply.flush()
    # Not through the libraries' own ends: one that crashes there would take the reply's exit code with it.
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main(sys.argv)
