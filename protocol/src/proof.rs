//! That an epoch was given out by a gate of the pool: a table carries the proof, the next poll brings it back. Without one an
//! epoch is a number that anybody can make up, and counts for nothing.

use crate::entry::Secret;
use std::fmt;

/// Key context of the proofs.
const CONTEXT: &str = "forebay 2026-11 proof of an epoch v2";
/// Length of a proof: 32 bytes in hexadecimal digits.
pub const PROOF_BYTES: usize = 64;

/// Makes proofs and checks them. All gates of a pool have one secret, and so believe each other's.
#[derive(Clone)]
pub struct Prover([u8; 32]);

impl Prover {
    /// The prover of a pool with that secret.
    pub fn of(secret: &Secret) -> Self {
        Self(blake3::derive_key(CONTEXT, &secret.0))
    }

    /// Proves an epoch.
    pub fn prove(&self, epoch: u64) -> String {
        self.hash(epoch).to_hex().to_string()
    }

    /// Is that a proof of that epoch? It takes as long whatever is wrong with it.
    pub fn holds(&self, epoch: u64, proof: &str) -> bool {
        blake3::Hash::from_hex(proof).is_ok_and(|proof| proof == self.hash(epoch))
    }

    fn hash(&self, epoch: u64) -> blake3::Hash {
        blake3::keyed_hash(&self.0, &epoch.to_le_bytes())
    }
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Prover(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_its_epoch_and_secret_alone() {
        let prover = |byte| Prover::of(&Secret::from_bytes(&[byte; 16]).unwrap());
        let proof = prover(1).prove(7);
        assert_eq!(proof.len(), PROOF_BYTES);
        assert!(prover(1).holds(7, &proof));
        assert!(!prover(1).holds(8, &proof) && !prover(2).holds(7, &proof));
        for wrong in ["", "00", &proof[1..], &format!("{proof}0"), &"z".repeat(64)] {
            assert!(!prover(1).holds(7, wrong), "{wrong}");
        }
    }
}
