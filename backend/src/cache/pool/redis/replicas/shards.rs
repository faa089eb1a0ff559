//! Who the replicas are. Where they listen enters, by the slots that they have; who may be asked for a name leaves.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use ::redis::cluster_routing::Slot;
use ::redis::{FromRedisValue, ParsingError, Value};

use super::{Address, Node};

/// A master's slots and its replicas.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Shard {
    /// Nothing of the one that the settings name, which has all slots.
    pub(super) master: Option<Address>,
    pub(super) slots: Vec<RangeInclusive<u16>>,
    pub(super) replicas: Vec<Address>,
}

/// Those of a cluster, as `CLUSTER SLOTS` lists them: ranges of slots, each with its master and that one's replicas.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed(pub(super) Vec<Shard>);

impl FromRedisValue for Listed {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let mut by_master: HashMap<Address, Shard> = HashMap::new();
        for range in Vec::<Vec<Value>>::from_redis_value(value)? {
            let mut range = range.into_iter();
            let mut slot = || u16::from_redis_value(range.next().unwrap_or(Value::Nil));
            let slots = slot()?..=slot()?;
            let nodes = range.filter_map(|node| address(node).transpose()).collect::<Result<Vec<_>, _>>()?;
            let Some((master, replicas)) = nodes.split_first() else { continue };
            let shard = by_master.entry(master.clone()).or_default();
            shard.master = Some(master.clone());
            shard.slots.push(slots);
            shard.replicas = replicas.to_vec();
        }
        let mut shards: Vec<_> = by_master.into_values().collect();
        shards.sort_unstable_by_key(|shard| shard.slots.first().map(|range| *range.start()));
        Ok(Self(shards))
    }
}

/// Of a node, which says its name behind it. Nothing of one that does not know its own.
fn address(node: Value) -> Result<Option<Address>, ParsingError> {
    let mut node = Vec::<Value>::from_redis_value(node)?.into_iter();
    let mut next = || node.next().unwrap_or(Value::Nil);
    let host = Option::<String>::from_redis_value(next())?;
    let port = u16::from_redis_value(next())?;
    Ok(host.filter(|host| !host.is_empty() && host != "?").map(|host| (host, port)))
}

/// Who may be asked.
#[derive(Default)]
pub(super) struct Shards {
    replicas: Vec<Vec<Arc<Node>>>,
    /// Which of them have a slot; empty where there is but one shard.
    by_slot: HashMap<Slot, usize>,
}

impl Shards {
    /// Of those shards, by where the replicas listen.
    pub(super) fn of_all(shards: &[Shard], nodes: &HashMap<Address, Arc<Node>>) -> Self {
        let of = |shard: &Shard| shard.replicas.iter().filter_map(|at| nodes.get(at).cloned()).collect();
        let slots = shards.iter().enumerate().flat_map(|(at, shard)| {
            let slots = shard.slots.iter().cloned().flatten();
            slots.filter_map(move |slot| Some((Slot::new(slot)?, at)))
        });
        Self { replicas: shards.iter().map(of).collect(), by_slot: slots.collect() }
    }

    /// Those that have what lies under that name.
    pub(super) fn of(&self, name: &[u8]) -> &[Arc<Node>] {
        let at =
            if self.by_slot.is_empty() { Some(0) } else { self.by_slot.get(&Slot::for_key(name)).copied() };
        at.and_then(|at| self.replicas.get(at)).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: i64) -> Value {
        let id = Value::BulkString(b"an id".to_vec());
        Value::Array(vec![Value::BulkString(host.into()), Value::Int(port), id, Value::Array(vec![])])
    }

    fn range(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        Value::Array([vec![Value::Int(first), Value::Int(last)], nodes].concat())
    }

    #[test]
    fn a_cluster_lists_slots_with_their_masters_and_replicas() {
        let value = Value::Array(vec![
            range(8192, 16383, vec![node("b", 1)]),
            range(0, 4095, vec![node("a", 1), node("a", 2), node("?", 3)]),
            range(4096, 8191, vec![node("a", 1), node("a", 2)]),
        ]);
        let of_a = Shard {
            master: Some(("a".to_owned(), 1)),
            slots: vec![0..=4095, 4096..=8191],
            replicas: vec![("a".to_owned(), 2)],
        };
        let master = Some(("b".to_owned(), 1));
        let of_b = Shard { master, slots: vec![8192..=16383], replicas: vec![] };
        assert_eq!(Listed::from_redis_value(value).unwrap(), Listed(vec![of_a, of_b]));
        assert!(Listed::from_redis_value(Value::Array(vec![Value::Int(1)])).is_err());
    }
}
