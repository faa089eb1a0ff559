//! Clocks that are set while all goes on, and stay so: one process's, or each one's, an hour from the others'.

use super::faults::{Fault, NONE, Of};

const HOUR: i64 = 3600;

/// The same, of clocks.
const OF_CLOCKS: Fault = Fault { of: Of::Clocks, ..NONE };

/// All of them.
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "the clock of one of two Envoys is set an hour ahead",
        begins: |mesh| mesh.set_clock("proxy-1", HOUR),
        ..OF_CLOCKS
    },
    Fault {
        name: "the clock of one of two Envoys is set an hour back",
        begins: |mesh| mesh.set_clock("proxy-1", -HOUR),
        ..OF_CLOCKS
    },
    Fault {
        name: "the gate's clock is set an hour ahead",
        begins: |mesh| mesh.set_clock("gate", HOUR),
        ..OF_CLOCKS
    },
    Fault {
        name: "the gate's clock is set an hour back",
        begins: |mesh| mesh.set_clock("gate", -HOUR),
        ..OF_CLOCKS
    },
    Fault {
        name: "the clock of one of three backends is set an hour ahead",
        begins: |mesh| mesh.set_clock("replica-1", HOUR),
        ..OF_CLOCKS
    },
    Fault {
        name: "the clock of one of three backends is set an hour back",
        begins: |mesh| mesh.set_clock("replica-1", -HOUR),
        ..OF_CLOCKS
    },
    Fault {
        name: "Redis' clock is set an hour ahead",
        begins: |mesh| mesh.set_clock("redis", HOUR),
        ..OF_CLOCKS
    },
    Fault {
        name: "Redis' clock is set an hour back",
        begins: |mesh| mesh.set_clock("redis", -HOUR),
        ..OF_CLOCKS
    },
    Fault {
        name: "all clocks are set, no two less than an hour apart",
        begins: |mesh| ALL.iter().zip(-3..).for_each(|(name, hours)| mesh.set_clock(name, hours * HOUR)),
        ..OF_CLOCKS
    },
];

/// The processes of a mesh.
const ALL: [&str; 7] = ["demo", "envoy", "gate", "redis", "proxy-1", "replica-1", "replica-2"];
