//! The pool's secret, as its file has it by and by -> what seals entries and opens them, and what proves epochs. Next: the `pool`
//! keeps what is sealed, the table of what is `live` carries proofs.
//!
//! The parts of a pool see a new secret at different moments. So a new one is *believed* at once, *used* [`SETTLES`] later, when all
//! believe it, and the former one is believed until as long again after: whatever the order in which their files change, each opens
//! what the others seal. What the former one sealed is a miss from then on. A process that starts knows the secret of that moment
//! alone.

use std::iter::once;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use bytes::Bytes;
use forebay_protocol::digest::Key;
use forebay_protocol::entry::{Entry, EntryError, Secret};
use forebay_protocol::proof::Prover;
use tokio_util::sync::CancellationToken;

use super::packing;
use crate::settings::{PoolSettings, SettingsError, read_pool_secret};
use crate::trust::Watched;

/// After so long a new secret is in all files: a kubelet, Vault's agent and a CSI driver need a minute or two.
const SETTLES: Duration = Duration::from_mins(5);
/// So many former ones are believed at most: each costs a check of what none of them sealed.
const MOST: usize = 3;

/// What there is of it.
pub(crate) struct PoolSecret(ArcSwap<Known>);

struct Known {
    newest: One,
    /// The newest of them first.
    former: Vec<One>,
}

#[derive(Clone)]
struct One {
    secret: Secret,
    prover: Prover,
    since: Instant,
}

impl PoolSecret {
    /// One that stays as it is.
    pub(crate) fn new(secret: Secret) -> Self {
        let newest = One::new(secret, Instant::now());
        Self(ArcSwap::from_pointee(Known { newest, former: Vec::new() }))
    }

    #[cfg(test)]
    pub(crate) fn of(bytes: &[u8]) -> Arc<Self> {
        Arc::new(Self::new(Secret::from_bytes(bytes).unwrap()))
    }

    /// The secret that the settings name; its file is followed until `stop`. Must be called inside a runtime.
    ///
    /// # Errors
    /// When there is none, or it can't be used.
    pub(crate) fn followed(
        settings: &PoolSettings,
        stop: &CancellationToken,
    ) -> Result<Arc<Self>, SettingsError> {
        let file = Watched::new(&settings.pool_secret_file);
        let secret = Arc::new(Self::new(read_pool_secret(settings)?));
        if settings.pool_secret_file.is_some() {
            tokio::spawn(secret.clone().follow(file, settings.clone(), stop.clone()));
        }
        Ok(secret)
    }

    /// What can't be used leaves what there was.
    async fn follow(self: Arc<Self>, mut file: Watched, settings: PoolSettings, stop: CancellationToken) {
        while stop.run_until_cancelled(file.changed()).await.is_some() {
            match read_pool_secret(&settings) {
                Ok(secret) => {
                    if self.take(secret, Instant::now()) {
                        tracing::info!("the pool's secret is another: believed now, used in {SETTLES:?}");
                    }
                }
                Err(error) => tracing::error!("the file of the pool's secret changed: {error}"),
            }
        }
    }

    /// Takes a secret; whether it is another.
    fn take(&self, secret: Secret, now: Instant) -> bool {
        let known = self.0.load();
        let is_another = known.newest.secret != secret;
        if is_another {
            let former = known.believed(now).take(MOST).cloned().collect();
            self.0.store(Arc::new(Known { newest: One::new(secret, now), former }));
        }
        is_another
    }

    /// An entry for the pool.
    pub(super) fn seal(&self, entry: &Entry, key: &Key) -> Vec<u8> {
        self.seal_at(entry, key, Instant::now())
    }

    fn seal_at(&self, entry: &Entry, key: &Key, now: Instant) -> Vec<u8> {
        entry.seal(key, &self.0.load().used(now).secret, packing::pack)
    }

    /// An entry out of the pool.
    ///
    /// # Errors
    /// As [`Entry::open`].
    pub(super) fn open(&self, sealed: &Bytes, key: &Key) -> Result<Entry, EntryError> {
        self.open_at(sealed, key, Instant::now())
    }

    fn open_at(&self, sealed: &Bytes, key: &Key, now: Instant) -> Result<Entry, EntryError> {
        let known = self.0.load();
        let mut opened = Err(EntryError::WrongMac);
        for one in known.believed(now) {
            opened = Entry::open(sealed.clone(), key, &one.secret, packing::unpack);
            if opened != Err(EntryError::WrongMac) {
                break;
            }
        }
        opened
    }

    /// Proves an epoch.
    pub(super) fn prove(&self, epoch: u64) -> String {
        self.0.load().used(Instant::now()).prover.prove(epoch)
    }

    /// Is that a proof of that epoch?
    pub(super) fn holds(&self, epoch: u64, proof: &str) -> bool {
        self.0.load().believed(Instant::now()).any(|one| one.prover.holds(epoch, proof))
    }
}

impl One {
    fn new(secret: Secret, since: Instant) -> Self {
        Self { prover: Prover::of(&secret), secret, since }
    }
}

impl Known {
    fn all(&self) -> impl Iterator<Item = &One> {
        once(&self.newest).chain(&self.former)
    }

    /// The newest that has settled; where none has, the oldest: it was used before the others came.
    fn used(&self, now: Instant) -> &One {
        let settled = self.all().find(|one| now.duration_since(one.since) >= SETTLES);
        settled.or(self.former.last()).unwrap_or(&self.newest)
    }

    /// The newest, and each that was followed by another not longer ago than that.
    fn believed(&self, now: Instant) -> impl Iterator<Item = &One> {
        let followed = self.all().map(|one| one.since);
        let former = self.former.iter().zip(followed);
        let believed = former.filter(move |(_, followed)| now.duration_since(*followed) < 2 * SETTLES);
        once(&self.newest).chain(believed.map(|(one, _)| one))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 32]);

    fn secret(letter: u8) -> Secret {
        Secret::from_bytes(&[letter; 16]).unwrap()
    }

    fn entry() -> Entry {
        Entry {
            response: Some(forebay_protocol::messages::ModelInferResponse::default()),
            generation: Bytes::from_static(&[1; 32]),
            ..Entry::default()
        }
    }

    /// Whether what `writer` seals then opens for `reader`.
    fn opens(writer: &PoolSecret, reader: &PoolSecret, now: Instant) -> bool {
        reader.open_at(&writer.seal_at(&entry(), &KEY, now).into(), &KEY, now).is_ok()
    }

    #[test]
    fn whoever_hears_of_a_new_secret_first_each_opens_what_the_other_seals() {
        let minutes = Duration::from_mins;
        for late in (0..=SETTLES.as_secs() / 60).map(minutes) {
            let [early, other] = [(); 2].map(|()| PoolSecret::new(secret(b'a')));
            let began = Instant::now();
            for passed in (0..30).map(minutes) {
                let now = began + passed;
                assert_eq!(early.take(secret(b'b'), now), passed == minutes(0));
                if passed >= late {
                    assert_eq!(other.take(secret(b'b'), now), passed == late);
                }
                let both = opens(&early, &other, now) && opens(&other, &early, now);
                assert!(both, "{late:?} late, {passed:?} after");
            }
        }
    }

    #[test]
    fn what_the_former_secret_seals_is_a_miss_after_a_while_and_at_once_for_who_never_knew_it() {
        let (former, newer) = (PoolSecret::new(secret(b'a')), PoolSecret::new(secret(b'b')));
        let rotated = PoolSecret::new(secret(b'a'));
        let now = Instant::now();
        rotated.take(secret(b'b'), now);
        let after = |passed| [opens(&former, &rotated, now + passed), opens(&rotated, &newer, now + passed)];
        let moment = Duration::from_secs(1);
        assert_eq!(after(moment), [true, false]);
        assert_eq!(after(SETTLES), [true, true]);
        assert_eq!(after(SETTLES + SETTLES.saturating_sub(moment)), [true, true]);
        assert_eq!(after(2 * SETTLES), [false, true]);
        assert!(opens(&newer, &rotated, now), "a process that starts uses the new one at once");
    }

    #[test]
    fn secrets_that_follow_each_other_fast_are_used_one_by_one_and_few_are_believed() {
        let rotated = PoolSecret::new(secret(b'a'));
        let now = Instant::now();
        for letter in b'b'..=b'z' {
            rotated.take(secret(letter), now);
        }
        let opened = |letter, now| opens(&PoolSecret::new(secret(letter)), &rotated, now);
        assert_eq!((b'a'..=b'z').filter(|letter| opened(*letter, now)).count(), 1 + MOST);
        assert!(opens(&rotated, &rotated, now) && opens(&rotated, &rotated, now + SETTLES));
        assert!(opens(&rotated, &PoolSecret::new(secret(b'z')), now + SETTLES));
    }

    #[test]
    fn an_epoch_that_was_proven_before_a_rotation_is_believed_after_it() {
        let [before, gate] = [(); 2].map(|()| PoolSecret::new(secret(b'a')));
        gate.take(secret(b'b'), Instant::now());
        assert!(gate.holds(7, &before.prove(7)) && before.holds(7, &gate.prove(7)));
        assert!(!gate.holds(8, &before.prove(7)));
    }
}
