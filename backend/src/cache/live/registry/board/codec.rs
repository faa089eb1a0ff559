//! A board as bytes, and back. Records are not in it, but for their digests.

use prost::Message;

use super::{Beat, Board};
use crate::cache::live::purges::Purges;

/// Version of the bytes.
const FORMAT: u32 = 2;

/// Bytes that are no board.
#[derive(Debug, thiserror::Error)]
pub(in crate::cache::live) enum BoardError {
    #[error("it is not the protobuf expected: {0}")]
    Malformed(#[from] prost::DecodeError),
    #[error("it has format {0}: this program reads format {FORMAT}")]
    UnknownFormat(u32),
}

#[derive(Clone, PartialEq, Message)]
struct Written {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(message, repeated, tag = "2")]
    beats: Vec<WrittenBeat>,
    #[prost(uint64, tag = "3")]
    epoch: u64,
    #[prost(string, optional, tag = "4")]
    signature: Option<String>,
    #[prost(uint64, tag = "5")]
    order: u64,
    #[prost(uint64, tag = "6")]
    lost_ms: u64,
    #[prost(uint64, tag = "7")]
    floor: u64,
    #[prost(fixed64, optional, tag = "8")]
    run: Option<u64>,
    /// Each as what it is more than the one before.
    #[prost(uint64, repeated, tag = "9")]
    epochs: Vec<u64>,
    #[prost(message, repeated, tag = "10")]
    proxies: Vec<WrittenPoller>,
    #[prost(message, repeated, tag = "11")]
    gates: Vec<WrittenPoller>,
    /// With purge numbers in place of epochs.
    #[prost(message, repeated, tag = "12")]
    servers: Vec<WrittenPoller>,
    #[prost(uint64, tag = "13")]
    purged: u64,
    #[prost(message, repeated, tag = "14")]
    purges: Vec<WrittenPurge>,
}

#[derive(Clone, PartialEq, Message)]
struct WrittenPurge {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    number: u64,
}

#[derive(Clone, PartialEq, Message)]
struct WrittenBeat {
    #[prost(string, tag = "1")]
    instance: String,
    #[prost(uint64, tag = "2")]
    order: u64,
    #[prost(uint64, tag = "3")]
    changed: u64,
    #[prost(uint64, tag = "4")]
    ms: u64,
    #[prost(bool, tag = "5")]
    left: bool,
    #[prost(string, tag = "6")]
    digest: String,
}

/// Who polls: a gate the tier, or a proxy a gate.
#[derive(Clone, PartialEq, Message)]
struct WrittenPoller {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint64, tag = "2")]
    ms: u64,
    #[prost(uint64, tag = "3")]
    epoch: u64,
}

impl Board {
    pub(in crate::cache::live) fn encode(&self) -> Vec<u8> {
        let beat = |(instance, beat): (&String, &Beat)| {
            let Beat { order, changed, ms, left, digest } = beat.clone();
            WrittenBeat { instance: instance.clone(), order, changed, ms, left, digest }
        };
        let poller = |(name, (ms, epoch)): (&String, &(u64, u64))| WrittenPoller {
            name: name.clone(),
            ms: *ms,
            epoch: *epoch,
        };
        let mut before = 0;
        let more = |epoch: &u64| epoch - std::mem::replace(&mut before, *epoch);
        let written = Written {
            format: FORMAT,
            beats: self.beats.iter().map(beat).collect(),
            epoch: self.epoch,
            signature: self.signature.clone(),
            order: self.order,
            lost_ms: self.lost_ms,
            floor: self.floor,
            run: self.run,
            epochs: self.epochs.iter().map(more).collect(),
            proxies: self.proxies.iter().map(poller).collect(),
            gates: self.gates.iter().map(poller).collect(),
            servers: self.servers.iter().map(poller).collect(),
            purged: self.purges.mark(),
            purges: self.purges.numbers().map(|(name, number)| WrittenPurge { name, number }).collect(),
        };
        written.encode_to_vec()
    }

    /// Every instance has a record: an empty text stands for it.
    ///
    /// # Errors
    /// [`BoardError`] for bytes that are none.
    pub(in crate::cache::live) fn decode(bytes: &[u8]) -> Result<Self, BoardError> {
        let written = Written::decode(bytes)?;
        if written.format != FORMAT {
            return Err(BoardError::UnknownFormat(written.format));
        }
        let beat = |beat: WrittenBeat| {
            let WrittenBeat { instance, order, changed, ms, left, digest } = beat;
            (instance, Beat { order, changed, ms, left, digest })
        };
        let poller = |WrittenPoller { name, ms, epoch }: WrittenPoller| (name, (ms, epoch));
        let epochs = written.epochs.iter().scan(0_u64, |before, more| {
            *before = before.saturating_add(*more);
            Some(*before)
        });
        Ok(Self {
            records: written.beats.iter().map(|beat| (beat.instance.clone(), String::new())).collect(),
            beats: written.beats.into_iter().map(beat).collect(),
            epoch: written.epoch,
            signature: written.signature,
            order: written.order,
            lost_ms: written.lost_ms,
            floor: written.floor,
            run: written.run,
            epochs: epochs.collect(),
            proxies: written.proxies.into_iter().map(poller).collect(),
            gates: written.gates.into_iter().map(poller).collect(),
            servers: written.servers.into_iter().map(poller).collect(),
            purges: Purges::of(
                written.purged,
                written.purges.into_iter().map(|WrittenPurge { name, number }| (name, number)),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::live::registry::board::At;
    use crate::cache::live::registry::random_name;
    use crate::cache::live::registry::steps::{Reader, Word};

    #[test]
    fn a_board_of_ten_thousand_proxies_fits_an_item_and_is_read_as_it_was() {
        let at = |number: u64| At { us: 1_700_000_000_000_000 + number * 700, run: 7 };
        let mut board = Board::begin(at(0));
        let proxies: Vec<(String, u64)> = (0..10_000).map(|_| (random_name(), at(0).us)).collect();
        let gates: Vec<String> = (0..100).map(|_| random_name()).collect();
        for number in 0..5000 {
            let digest = format!("{number:032x}");
            let instance = format!("{:032x}", number % 200);
            let word = Word {
                instance: &instance,
                left: false,
                digest: &digest,
                record: "{}",
                known: 0,
                unanswered: false,
                purged: 0,
            };
            board.say(&word, at(number));
        }
        for gate in &gates {
            let reader = Reader { gate, epoch: 0, signature: "", purged: 0, known: &[], proxies: &proxies };
            board.read(&reader, at(5000));
        }
        let bytes = board.encode();
        assert!(bytes.len() < 900 << 10, "{} bytes", bytes.len());
        let mut again = Board::decode(&bytes).unwrap();
        assert_ne!(again, board, "the texts of records are elsewhere");
        again.records = board.records.clone();
        assert_eq!(again, board);
    }

    fn unhex(vector: &serde_json::Value) -> Vec<u8> {
        let hex = vector["bytes"].as_str().unwrap().as_bytes().chunks(2);
        hex.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn a_board_of_format_1_is_named_as_one() {
        let former = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/golden/2/boards.json"));
        for vector in serde_json::from_str::<Vec<serde_json::Value>>(former).unwrap() {
            assert!(matches!(Board::decode(&unhex(&vector)), Err(BoardError::UnknownFormat(1))));
        }
    }

    #[test]
    fn a_board_is_these_bytes() {
        let golden = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/golden/3/boards.json"));
        for vector in serde_json::from_str::<Vec<serde_json::Value>>(golden).unwrap() {
            let bytes = unhex(&vector);
            let board = Board::decode(&bytes).unwrap();
            assert_eq!((board.beats.len(), board.proxies.len(), board.gates.len()), (1, 1, 1));
            assert_eq!((board.servers.len(), board.purges.numbers().count()), (1, 1));
            assert_eq!(board.encode(), bytes, "{}", vector["name"]);
        }
    }
}
