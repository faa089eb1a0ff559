//! Variables that are no settings though they have a setting's name: empty ones, and those that Kubernetes makes for a Service. (One
//! that is named `forebay-http` gives every container of its namespace `FOREBAY_HTTP_PORT=tcp://10.0.0.1:8000`.)

use clap::Command;

/// `command`, which reads none of them.
pub(super) fn without_strangers(command: Command) -> Command {
    let command = command.mut_args(|arg| {
        let value = arg.get_env().and_then(std::env::var_os);
        let is_strange = value.is_some_and(|value| is_strange(&value.to_string_lossy()));
        if is_strange { arg.env(None::<&str>) } else { arg }
    });
    command.mut_subcommands(without_strangers)
}

fn is_strange(value: &str) -> bool {
    // Of our own settings none takes an address of that form.
    value.is_empty() || ["tcp://", "udp://", "sctp://"].iter().any(|protocol| value.starts_with(protocol))
}
