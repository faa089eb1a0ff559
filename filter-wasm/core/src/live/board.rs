//! What the proxy's workers know together, in its shared data: a head of 24 bytes that every request looks at, the table, whose
//! turn it is to poll, which services have no backend, and the proxy's name. What was written by a newer table is never overwritten by an older one.

use crate::config::Gate;
use crate::host::Host;
use forebay_protocol::generations::Table;

/// Attempts of a compare-and-swap: each fails only because another worker's succeeded.
const ATTEMPTS: usize = 1024;
/// A compare-and-swap number that no value has: it writes only where nothing is. (On an absent key the proxy ignores the number.)
const ABSENT: u32 = u32::MAX;
/// The proxy's name, 16 hex digits.
const PROXY_KEY: &str = "forebay.2.proxy";
/// Key context of the proxy's name.
const PROXY_CONTEXT: &str = "forebay 2026-11 name of a proxy v1";

/// What all workers know of the newest table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    /// Its epoch.
    pub(super) epoch: u64,
    /// When the poll was sent that last said so, by this proxy's clock.
    pub(super) confirmed_ms: u64,
    /// How far the pool's clock is ahead.
    pub(super) skew_ms: i64,
}

/// A worker's turn to poll. It ends by itself, and no two end at the same time: so its end names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Turn {
    until_ms: u64,
}

/// Where it is written. Two configurations with one VM and different gates have a board each.
#[derive(Debug)]
pub(super) struct Board {
    /// The proxy's name.
    pub(super) proxy: String,
    head: String,
    table: String,
    turn: String,
    away: String,
}

impl Head {
    fn read(bytes: &[u8]) -> Option<Self> {
        let ([epoch, confirmed, skew], []) = bytes.as_chunks::<8>() else { return None };
        Some(Self {
            epoch: u64::from_le_bytes(*epoch),
            confirmed_ms: u64::from_le_bytes(*confirmed),
            skew_ms: i64::from_le_bytes(*skew),
        })
    }

    fn write(self) -> [u8; 24] {
        let mut bytes = [0; 24];
        let fields = [self.epoch.to_le_bytes(), self.confirmed_ms.to_le_bytes(), self.skew_ms.to_le_bytes()];
        for (place, field) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(fields) {
            *place = field;
        }
        bytes
    }
}

impl Board {
    /// The board of that gate.
    pub(super) fn of(gate: Option<&Gate>) -> Self {
        let gate = gate.map(|gate| format!("{}\n{}", gate.cluster, gate.authority())).unwrap_or_default();
        let gate = blake3::hash(gate.as_bytes()).to_hex();
        let gate = gate.get(..16).unwrap_or_default();
        let key = |what: &str| format!("forebay.2.{what}.{gate}");
        Self {
            proxy: String::new(),
            head: key("head"),
            table: key("table"),
            turn: key("turn"),
            away: key("away"),
        }
    }

    /// Takes over the proxy's name, or gives it one.
    pub(super) fn name_proxy(&mut self, host: &dyn Host) {
        // The VM has no source of randomness: the time and an address must do. The name only tells proxies apart.
        let seed = [host.now_ms().to_le_bytes(), (std::ptr::from_ref(self) as u64).to_le_bytes()].concat();
        let name = blake3::Hash::from_bytes(blake3::derive_key(PROXY_CONTEXT, &seed)).to_hex();
        let name = name.get(..16).unwrap_or_default();
        host.shared_set(PROXY_KEY, name.as_bytes(), Some(ABSENT));
        let kept = host.shared_get(PROXY_KEY).and_then(|(name, _)| String::from_utf8(name).ok());
        self.proxy = kept.unwrap_or_else(|| name.to_owned());
    }

    /// What all know.
    pub(super) fn head(&self, host: &dyn Host) -> Option<Head> {
        Head::read(&host.shared_get(&self.head)?.0)
    }

    /// The newest table.
    pub(super) fn table(&self, host: &dyn Host) -> Option<Table> {
        let (value, _) = host.shared_get(&self.table)?;
        let (_, json) = value.split_at_checked(8)?;
        Table::parse(json).ok()
    }

    /// Writes a table that the gate gave to one who knew that of `known`, unless there is a newer one than that, or it is no newer.
    /// Returns whether it is there now.
    pub(super) fn put_table(&self, host: &dyn Host, known: u64, epoch: u64, json: &[u8]) -> bool {
        let mut is_there = false;
        swap(host, &self.table, |old| {
            let there =
                old.and_then(|old| old.first_chunk::<8>()).map_or(0, |epoch| u64::from_le_bytes(*epoch));
            let is_next = there <= known && epoch > there;
            is_there = is_next || (epoch > 0 && epoch == there);
            is_next.then(|| [&epoch.to_le_bytes()[..], json].concat())
        });
        is_there
    }

    /// Writes what a poll said, unless more is known.
    pub(super) fn confirm(&self, host: &dyn Host, said: Head) {
        swap(host, &self.head, |old| {
            let old = old.and_then(Head::read).unwrap_or_default();
            let is_news = said.epoch > old.epoch || (said.epoch == old.epoch && said != old);
            (said.epoch > 0 && is_news).then(|| said.write().to_vec())
        });
    }

    /// The services without a backend, separated by commas.
    pub(super) fn away(&self, host: &dyn Host) -> String {
        let away = host.shared_get(&self.away);
        away.and_then(|(names, _)| String::from_utf8(names).ok()).unwrap_or_default()
    }

    /// Says which those are.
    pub(super) fn put_away(&self, host: &dyn Host, names: &[u8]) {
        swap(host, &self.away, |old| (old.unwrap_or_default() != names).then(|| names.to_vec()));
    }

    /// Takes the turn for `longest_ms`, if nobody has it.
    pub(super) fn take_turn(&self, host: &dyn Host, now_ms: u64, longest_ms: u64) -> Option<Turn> {
        let mut taken = None;
        swap(host, &self.turn, |old| {
            let until_ms = Turn::read(old).until_ms;
            // A clock that was set back must not stop the polling.
            let is_free = now_ms >= until_ms || until_ms.saturating_sub(now_ms) > longest_ms;
            taken = is_free.then(|| Turn { until_ms: now_ms.saturating_add(longest_ms) });
            taken.map(Turn::write)
        });
        taken
    }

    /// Who has the turn keeps it until then; 0: anybody may take it. `None`: it is another worker's by now.
    pub(super) fn keep_turn(&self, host: &dyn Host, turn: Turn, until_ms: u64) -> Option<Turn> {
        let mut kept = None;
        swap(host, &self.turn, |old| {
            kept = (Turn::read(old) == turn).then_some(Turn { until_ms });
            kept.map(Turn::write)
        });
        kept
    }
}

impl Turn {
    fn read(bytes: Option<&[u8]>) -> Self {
        let until_ms =
            bytes.and_then(|bytes| bytes.first_chunk::<8>()).map_or(0, |until| u64::from_le_bytes(*until));
        Self { until_ms }
    }

    fn write(self) -> Vec<u8> {
        self.until_ms.to_le_bytes().to_vec()
    }
}

/// Replaces a value by what `change` makes of it, unless it makes nothing.
fn swap(host: &dyn Host, key: &str, mut change: impl FnMut(Option<&[u8]>) -> Option<Vec<u8>>) {
    for _ in 0..ATTEMPTS {
        let (old, cas) = host.shared_get(key).unzip();
        let Some(new) = change(old.as_deref()) else { return };
        if host.shared_set(key, &new, Some(cas.unwrap_or(ABSENT))) {
            return;
        }
    }
}
