//! One computation of a key among servers that share a tier: where nothing is under a key, whoever looked has put a mark there in the same
//! round trip, and holds the lease. Who finds the mark of another waits for what takes its place. A mark goes by itself when
//! nobody keeps it alive, so the lease of one who died passes on; it is no proof of anything, and who waits does so for a while only.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay_protocol::digest::Key;
use forebay_protocol::entry::Entry;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval};

use super::PoolError;
use super::remote::{Kept, Shelf};

/// How long a mark stays that nobody keeps alive. Memcached counts whole seconds, and a second may be over at once: two are one at
/// least.
pub(super) const STAYS: Duration = Duration::from_secs(2);
/// A holder keeps its mark alive this often.
const BEAT: Duration = Duration::from_millis(400);
/// For so long it is known that a result can't be kept: nobody waits for another who computes it.
pub(super) const REMEMBERED: Duration = Duration::from_secs(10);
/// A mark is kept alive, or taken away, within that.
const PATIENCE: Duration = Duration::from_millis(500);
/// Under a key whose result can't be kept.
pub(super) const UNKEPT: &[u8] = b"FBU1";
/// How the mark of a holder begins in tiers that have no such marks of their own.
pub(super) const HELD: &[u8] = b"FBL1";

/// What a tier that was asked for bytes, or to put a mark where none are, has done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Bytes(Bytes),
    /// It put a mark there, which is known by that.
    Marked(u64),
    /// There is another's mark.
    Held,
    /// There is nothing, and no mark; or it is known that nothing will come.
    Free,
}

impl Slot {
    /// What is under a key, if it isn't known to be marked.
    pub(super) fn of(bytes: Bytes) -> Self {
        if bytes.is_empty() || bytes.starts_with(HELD) {
            Self::Held
        } else if bytes == UNKEPT {
            Self::Free
        } else {
            Self::Bytes(bytes)
        }
    }
}

/// What one finds who would compute the result.
pub(crate) enum Claim {
    Found(Arc<Entry>),
    /// It is this one that computes it.
    Lease(Lease),
    /// Another computes it.
    Held,
    /// Nobody waits for anybody.
    Free,
}

/// The right to compute a result. Dropping it is giving up: the next one that asks has it.
pub(crate) struct Lease(oneshot::Sender<bool>);

impl Lease {
    /// There is a result. One that is kept takes the mark's place; of one that can't be it is remembered for a while.
    pub(crate) fn end(self, is_kept: bool) {
        // Nobody listens where the runtime ends.
        let _ = self.0.send(is_kept);
    }
}

/// Looks up and claims. It goes on when who asked has left: a mark that was put by then is taken away.
pub(super) async fn claim<S: Shelf>(kept: Arc<Kept<S>>, key: Key) -> Result<Claim, PoolError> {
    let (tell, told) = oneshot::channel();
    tokio::spawn(async move {
        let slot = kept.slot(&key).await;
        let Ok(Slot::Marked(mark)) = slot else {
            let _ = tell.send(slot.map(|slot| kept.found(slot, &key)));
            return;
        };
        let (end, ended) = oneshot::channel();
        // What nobody takes is dropped here, which ends the lease.
        let _ = tell.send(Ok(Claim::Lease(Lease(end))));
        hold(&kept.shelf, &key, mark, ended).await;
    });
    told.await.unwrap_or(Ok(Claim::Free))
}

/// Keeps a mark alive until the lease is over.
async fn hold(shelf: &impl Shelf, key: &Key, mark: u64, mut ended: oneshot::Receiver<bool>) {
    let mut beats = interval(BEAT);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats.reset();
    let unkept = loop {
        tokio::select! {
            end = &mut ended => match end {
                Ok(true) => return,
                Ok(false) => break true,
                Err(_) => break false,
            },
            // It goes by itself where this fails.
            _ = beats.tick() => drop(shelf.stay(key, PATIENCE).await),
        }
    };
    // As above.
    let _ = shelf.unmark(key, mark, unkept, PATIENCE).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_no_entry_and_an_entry_no_mark() {
        for (bytes, slot) in [
            (&b"FBL1\0\0\0\0\0\0\0\0"[..], Slot::Held),
            (b"", Slot::Held),
            (b"FBU1", Slot::Free),
            (b"FBU1 and more", Slot::Bytes(Bytes::from_static(b"FBU1 and more"))),
            (b"FBE2", Slot::Bytes(Bytes::from_static(b"FBE2"))),
            (b"FBE3", Slot::Bytes(Bytes::from_static(b"FBE3"))),
        ] {
            assert_eq!(Slot::of(Bytes::from_static(bytes)), slot, "{bytes:?}");
        }
    }
}
