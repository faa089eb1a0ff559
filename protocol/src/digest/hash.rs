//! The three 32-byte values and their text form, 64 hex digits.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

/// A text that is not 64 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a hash: 64 hex digits are expected")]
pub struct HexError;

macro_rules! hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = HexError;

            fn from_str(hex: &str) -> Result<Self, HexError> {
                blake3::Hash::from_hex(hex).map(|hash| Self(*hash.as_bytes())).map_err(|_| HexError)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Cow::<'de, str>::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hash! {
    /// What was asked: the digest of a canonical request.
    Digest
}
hash! {
    /// What answers: the digest of a loaded model, its files, settings and engine.
    Generation
}
hash! {
    /// Where the pool keeps an answer.
    Key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_reads_back_and_nothing_else_does() {
        let generation = Generation([0xa5; 32]);
        assert_eq!(generation.to_string(), "a5".repeat(32));
        assert_eq!(generation.to_string().parse(), Ok(generation));
        for wrong in ["", "a5", &"a5".repeat(33), &"g5".repeat(32), &"\u{e9}".repeat(32)] {
            assert_eq!(wrong.parse::<Generation>(), Err(HexError), "{wrong}");
        }
    }

    #[test]
    fn json_carries_hex() {
        let json = serde_json::to_string(&Generation([1; 32])).unwrap();
        assert_eq!(json, format!("\"{}\"", "01".repeat(32)));
        assert_eq!(serde_json::from_str::<Generation>(&json).unwrap(), Generation([1; 32]));
        assert!(serde_json::from_str::<Generation>("\"01\"").is_err());
    }
}
