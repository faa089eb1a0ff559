//! A Redis as a cache: a port enters; the arguments with which it writes nothing to disk, and its line that says it is ready, leave.

/// Arguments of `redis-server`, for a port of the loopback.
pub fn arguments(port: u16) -> [String; 8] {
    let port = port.to_string();
    ["--port", &port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"].map(str::to_owned)
}

/// Does the line say that it is ready?
pub fn is_ready(line: &str) -> Option<()> {
    line.contains("Ready to accept connections").then_some(())
}
