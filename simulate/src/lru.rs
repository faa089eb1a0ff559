//! The least recently used goes first: keys with weights enter, at most so many bytes of them stay.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use crate::tier::KeyHasher;

/// No place.
const NONE: u32 = u32::MAX;

/// A key, what it is worth, and its neighbours by age.
struct Slot<V> {
    key: u64,
    value: V,
    weight: u64,
    older: u32,
    newer: u32,
}

/// Keys -> values, bounded by the sum of their weights.
pub(crate) struct Lru<V> {
    places: HashMap<u64, u32, BuildHasherDefault<KeyHasher>>,
    slots: Vec<Slot<V>>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
    weight: u64,
    most: u64,
}

impl<V: Copy> Lru<V> {
    pub(crate) fn new(most: u64) -> Self {
        Self {
            places: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            newest: NONE,
            weight: 0,
            most,
        }
    }

    /// The value, which is the newest now.
    pub(crate) fn get(&mut self, key: u64) -> Option<V> {
        let place = *self.places.get(&key)?;
        self.unlink(place);
        self.link(place);
        Some(self.slots[place as usize].value)
    }

    /// Puts a value in, and the oldest out until all has room. What has none alone isn't kept.
    pub(crate) fn put(&mut self, key: u64, value: V, weight: u64) {
        self.remove(key);
        if weight > self.most {
            return;
        }
        while self.weight + weight > self.most {
            self.remove(self.slots[self.oldest as usize].key);
        }
        let slot = Slot { key, value, weight, older: NONE, newer: NONE };
        let place = if let Some(place) = self.free.pop() {
            self.slots[place as usize] = slot;
            place
        } else {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
        };
        self.places.insert(key, place);
        self.link(place);
        self.weight += weight;
    }

    fn remove(&mut self, key: u64) {
        if let Some(place) = self.places.remove(&key) {
            self.unlink(place);
            self.weight -= self.slots[place as usize].weight;
            self.free.push(place);
        }
    }

    fn unlink(&mut self, place: u32) {
        let Slot { older, newer, .. } = self.slots[place as usize];
        match older {
            NONE => self.oldest = newer,
            older => self.slots[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.slots[newer as usize].older = older,
        }
    }

    /// As the newest.
    fn link(&mut self, place: u32) {
        let before = self.newest;
        self.slots[place as usize].older = before;
        self.slots[place as usize].newer = NONE;
        match before {
            NONE => self.oldest = place,
            before => self.slots[before as usize].newer = place,
        }
        self.newest = place;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    /// The same, as slow as it is plain.
    fn plain(list: &mut VecDeque<(u64, u64)>, most: u64, key: u64, weight: u64) -> bool {
        if let Some(at) = list.iter().position(|(known, _)| *known == key) {
            let entry = list.remove(at).unwrap();
            list.push_back(entry);
            return true;
        }
        if weight <= most {
            list.push_back((key, weight));
            while list.iter().map(|(_, weight)| weight).sum::<u64>() > most {
                list.pop_front();
            }
        }
        false
    }

    proptest! {
        #[test]
        fn it_keeps_what_a_plain_list_keeps(most in 1..60_u64, asked in prop::collection::vec(0..20_u64, 0..300)) {
            let (mut lru, mut list) = (Lru::new(most), VecDeque::new());
            for key in asked {
                let weight = key % 7 + 1;
                let hit = lru.get(key).is_some();
                prop_assert_eq!(hit, plain(&mut list, most, key, weight));
                if !hit {
                    lru.put(key, (), weight);
                }
                prop_assert!(lru.weight <= most && lru.places.len() == list.len());
            }
        }
    }

    #[test]
    fn what_is_put_again_has_its_new_weight() {
        let mut lru = Lru::new(10);
        lru.put(1, 'a', 4);
        lru.put(2, 'b', 4);
        lru.put(1, 'c', 6);
        assert_eq!((lru.get(1), lru.get(2), lru.weight), (Some('c'), Some('b'), 10));
        lru.put(3, 'd', 11);
        assert_eq!((lru.get(3), lru.weight), (None, 10));
    }
}
