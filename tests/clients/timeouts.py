"""What the public client waits for at most, and what becomes of a request that is given less.

    python timeouts.py defaults                 its own settings, in seconds; null is no bound
    python timeouts.py cut HTTP_HOST:PORT SECS  asks for identity_fp32 with that bound; ends well if the client gives up by itself
"""
import inspect
import json
import sys

import numpy as np
import tritonclient.grpc as grpc
import tritonclient.http as http


def defaults():
    said = lambda call, name: inspect.signature(call).parameters[name].default
    print(json.dumps({
        "connection_timeout": said(http.InferenceServerClient.__init__, "connection_timeout"),
        "network_timeout": said(http.InferenceServerClient.__init__, "network_timeout"),
        "client_timeout": said(grpc.InferenceServerClient.infer, "client_timeout"),
    }))


def cut(address, seconds):
    client = http.InferenceServerClient(address, network_timeout=float(seconds))
    given = http.InferInput("x", [1, 1], "FP32")
    given.set_data_from_numpy(np.array([[1.0]], dtype=np.float32))
    try:
        client.infer("identity_fp32", [given])
    except TimeoutError as error:
        print(f"gave up: {error}")
    else:
        raise AssertionError("it was answered")


{"defaults": defaults, "cut": cut}[sys.argv[1]](*sys.argv[2:])
