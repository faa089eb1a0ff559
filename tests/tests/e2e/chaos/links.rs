//! Links that fail: they are cut, fall silent, or are slow.

use std::time::Duration;

use e2e::stack::{Links, Running};
use rig::link::Link;

use super::faults::{Fault, NONE, Of};

/// As between continents.
const SLOW: Duration = Duration::from_millis(100);

/// The same, of links.
const OF_LINKS: Fault = Fault { of: Of::Links, ..NONE };

fn links(mesh: &Running) -> &Links {
    mesh.links.as_ref().expect("links")
}

/// All of them.
pub(super) const FAULTS: &[Fault] = &[
    Fault {
        name: "the backends' links to Redis are cut",
        begins: |mesh| links(mesh).backends.cut(),
        mends: Some(|mesh| links(mesh).backends.mend()),
        ..OF_LINKS
    },
    Fault {
        name: "the backends' links to Redis fall silent, half open, for good",
        begins: |mesh| links(mesh).backends.silence(),
        ..OF_LINKS
    },
    Fault {
        name: "what goes from the backends to Redis takes 100 ms",
        begins: |mesh| links(mesh).backends.slow(SLOW),
        mends: Some(|mesh| links(mesh).backends.mend()),
        ..OF_LINKS
    },
    Fault {
        name: "the gate's links to Redis are cut",
        begins: |mesh| links(mesh).gate.cut(),
        mends: Some(|mesh| links(mesh).gate.mend()),
        ..OF_LINKS
    },
    Fault {
        name: "the gate's links to Redis fall silent, half open, for good",
        begins: |mesh| links(mesh).gate.silence(),
        ..OF_LINKS
    },
    Fault {
        name: "the Envoys' links to the gate are cut",
        begins: |mesh| links(mesh).envoys.cut(),
        mends: Some(|mesh| links(mesh).envoys.mend()),
        ..OF_LINKS
    },
    Fault {
        name: "the Envoys' links to the gate fall silent, half open, for good",
        begins: |mesh| links(mesh).envoys.silence(),
        ..OF_LINKS
    },
    Fault {
        name: "what goes from the Envoys to the gate takes 100 ms",
        begins: |mesh| links(mesh).envoys.slow(SLOW),
        mends: Some(|mesh| links(mesh).envoys.mend()),
        ..OF_LINKS
    },
    Fault {
        name: "the Envoys' links to one of three backends are cut",
        begins: |mesh| links(mesh).first_backend.iter().for_each(Link::cut),
        mends: Some(|mesh| links(mesh).first_backend.iter().for_each(Link::mend)),
        ..OF_LINKS
    },
    Fault {
        name: "the Envoys' links to one of three backends fall silent, half open, for good: those of HTTP/1.1",
        begins: |mesh| links(mesh).first_backend[0].silence(),
        ..OF_LINKS
    },
    Fault {
        name: "the Envoys' links to one of three backends fall silent, half open, for good: those of gRPC",
        begins: |mesh| links(mesh).first_backend[1].silence(),
        ..OF_LINKS
    },
    Fault {
        name: "one of three backends is gone without a word, and no new link to it is answered",
        begins: |mesh| links(mesh).first_backend.iter().for_each(Link::vanish),
        model: "slow", // so that it computes when it goes
        ..OF_LINKS
    },
    Fault {
        name: "what goes from the Envoys to one of three backends takes 100 ms",
        begins: |mesh| links(mesh).first_backend.iter().for_each(|link| link.slow(SLOW)),
        mends: Some(|mesh| links(mesh).first_backend.iter().for_each(Link::mend)),
        ..OF_LINKS
    },
];
