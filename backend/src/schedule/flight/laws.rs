//! Any order of coming, landing, failing and leaving: everyone ends once, and nothing is computed twice at a time.

use proptest::prelude::*;

use super::*;

/// Whether a result that is not new will do.
#[derive(Debug, Clone, Copy)]
struct Takes {
    old: bool,
}

/// A result: a new one, or one that was there.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Value {
    old: bool,
}

struct Law;

impl Sought for Law {
    type Key = u8;
    type Want = Takes;
    type Found = Value;

    fn takes(want: &Takes, found: &Value) -> bool {
        want.old || !found.old
    }
}

#[derive(Debug, Clone)]
enum Step {
    Enter {
        key: u8,
        takes_old: bool,
    },
    /// Of those that lead, the one at that place, wrapping around: lands, and goes on or is done.
    Land {
        at: usize,
        old: bool,
        ends: bool,
    },
    /// Gives up.
    Fail {
        at: usize,
    },
    /// Of those that are in, that one leaves. If it leads, what computes for it goes on or is given up with it.
    Leave {
        at: usize,
        goes_on: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_u8, any::<bool>()).prop_map(|(key, takes_old)| Step::Enter { key, takes_old }),
        2 => (any::<usize>(), any::<bool>(), any::<bool>()).prop_map(|(at, old, ends)| Step::Land { at, old, ends }),
        1 => any::<usize>().prop_map(|at| Step::Fail { at }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(at, goes_on)| Step::Leave { at, goes_on }),
    ]
}

type Receiver = oneshot::Receiver<Told<Law>>;

/// One who is in.
struct One {
    key: u8,
    takes: Takes,
    seat: Seat<Law>,
    /// `None` once it was told.
    told: Option<Receiver>,
    leads: bool,
}

#[derive(Default)]
struct World {
    ones: Vec<One>,
    /// What is being computed, and whose it was.
    leads: Vec<(u8, Lead<Law>)>,
}

impl World {
    /// Everyone hears what it was told. Who takes what landed is out.
    fn hear(&mut self) {
        let Self { ones, leads } = self;
        ones.retain_mut(|one| {
            let Some(told) = &mut one.told else { return true };
            match told.try_recv() {
                Err(oneshot::error::TryRecvError::Empty) => true,
                Err(oneshot::error::TryRecvError::Closed) => panic!("it was forgotten"),
                Ok(Told::Landed(value)) => {
                    assert!(Law::takes(&one.takes, &value), "it got what it didn't want");
                    false
                }
                Ok(Told::Leads(lead)) => {
                    leads.push((one.key, lead));
                    (one.told, one.leads) = (None, true);
                    true
                }
            }
        });
    }

    fn check(&self) {
        for key in 0..3 {
            let leads = self.leads.iter().filter(|(of, _)| *of == key).count();
            assert!(leads <= 1, "two lead");
            let waits = self.ones.iter().any(|one| one.key == key && one.told.is_some());
            assert!(!waits || leads == 1, "one waits for nobody");
        }
    }
}

fn at(place: usize, of: usize) -> Option<usize> {
    place.checked_rem(of)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn everyone_ends_once_and_one_leads_while_one_waits(steps in prop::collection::vec(step(), 1..60)) {
        let limits = QueueLimits { requests: usize::MAX, bytes: usize::MAX };
        let flights = Arc::new(Flights::<Law>::new(limits));
        let mut world = World::default();
        for step in steps {
            match step {
                Step::Enter { key, takes_old } => {
                    let takes = Takes { old: takes_old };
                    let (seat, part) = flights.enter(key, takes, 7).unwrap();
                    let is_led = world.leads.iter().any(|(of, _)| *of == key);
                    match part {
                        Part::Has(value) => prop_assert!(is_led && Law::takes(&takes, &value)),
                        Part::Leads(lead) => {
                            prop_assert!(!is_led, "it is computed already");
                            world.leads.push((key, lead));
                            world.ones.push(One { key, takes, seat, told: None, leads: true });
                        }
                        Part::Waits(told) => {
                            prop_assert!(is_led);
                            world.ones.push(One { key, takes, seat, told: Some(told), leads: false });
                        }
                    }
                }
                Step::Land { at: place, old, ends } => if let Some(place) = at(place, world.leads.len()) {
                    world.leads[place].1.land(&Value { old });
                    if ends {
                        let (key, lead) = world.leads.remove(place);
                        world.ones.retain(|one| one.key != key || !one.leads);
                        drop(lead);
                    }
                },
                Step::Fail { at: place } => if let Some(place) = at(place, world.leads.len()) {
                    let (key, lead) = world.leads.remove(place);
                    world.ones.retain(|one| one.key != key || !one.leads);
                    drop(lead);
                },
                Step::Leave { at: place, goes_on } => if let Some(place) = at(place, world.ones.len()) {
                    let One { key, seat, told, leads, .. } = world.ones.remove(place);
                    // It may have been told a moment ago.
                    drop((seat, told));
                    if leads && !goes_on {
                        world.leads.retain(|(of, _)| *of != key);
                    }
                },
            }
            world.hear();
            world.check();
            let state = flights.lock();
            prop_assert_eq!((state.seats, state.bytes), (world.ones.len(), world.ones.len() * 7));
            prop_assert_eq!(state.flights.len(), world.leads.len());
        }
        drop(world);
        let state = flights.lock();
        prop_assert!(state.flights.is_empty() && state.seats == 0 && state.bytes == 0);
    }
}
