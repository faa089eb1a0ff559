//! What a Memcached has, seen and changed past `forebay`.

use rig::tier::Server;

/// One of its statistics.
pub(super) fn stat(server: &Server, name: &str) -> u64 {
    let start = format!("STAT {name} ");
    server.ask("stats").find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap()
}

/// Names of what it has that begin so.
fn names(server: &Server, start: &str) -> Vec<String> {
    let lines = server.ask("lru_crawler metadump all").take_while(|line| line != "END");
    let names = lines.filter_map(|line| Some(line.strip_prefix("key=")?.split(' ').next()?.to_owned()));
    // Names are percent-encoded.
    names.map(|name| name.replace("%3A", ":")).filter(|name| name.starts_with(start)).collect()
}

/// How many items it has whose names begin so.
pub(super) fn count(server: &Server, start: &str) -> usize {
    names(server, start).len()
}

/// Takes those away; how many there were.
pub(super) fn delete_all(server: &Server, start: &str) -> usize {
    let names = names(server, start);
    names.iter().filter(|name| server.tell(&format!("delete {name}")) == "DELETED").count()
}

/// Writes a few megabytes of others, of several sizes.
pub(super) fn fill(server: &Server) {
    let set = |number: usize| {
        let bytes = [100, 400, 1000, 4000, 9000][number % 5];
        format!("set other:{number} 0 0 {bytes} noreply\r\n{}\r\n", "x".repeat(bytes))
    };
    // When the last command is answered, all before it are done.
    server.tell(&((0..2000).map(set).collect::<String>() + "version"));
}
