use super::*;

const LIMITS: QueueLimits = QueueLimits { requests: 4, bytes: 100 };

/// Numbers that are large enough.
struct Large;

impl Sought for Large {
    type Key = u8;
    type Want = u32;
    type Found = u32;

    fn takes(want: &u32, found: &u32) -> bool {
        found >= want
    }
}

type Entered = (Seat<Large>, Part<Large>);

fn flights() -> Arc<Flights<Large>> {
    Arc::new(Flights::new(LIMITS))
}

fn is_empty(flights: &Flights<Large>) -> bool {
    let state = flights.lock();
    state.flights.is_empty() && state.seats == 0 && state.bytes == 0
}

fn lead((seat, part): Entered) -> (Seat<Large>, Lead<Large>) {
    match part {
        Part::Leads(lead) => (seat, lead),
        _ => panic!("another one leads"),
    }
}

/// One who waits, and what it is told.
struct Waiter {
    _seat: Seat<Large>,
    told: oneshot::Receiver<Told<Large>>,
}

fn waiter((seat, part): Entered) -> Waiter {
    match part {
        Part::Waits(told) => Waiter { _seat: seat, told },
        _ => panic!("it waits for nobody"),
    }
}

impl Waiter {
    fn landed(mut self) -> u32 {
        match self.told.try_recv() {
            Ok(Told::Landed(value)) => value,
            _ => panic!("nothing landed"),
        }
    }

    fn leads(mut self) -> (Self, Lead<Large>) {
        match self.told.try_recv() {
            Ok(Told::Leads(lead)) => (self, lead),
            _ => panic!("it doesn't lead"),
        }
    }

    fn is_waiting(&mut self) -> bool {
        matches!(self.told.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }
}

#[test]
fn all_get_what_lands_and_who_comes_then_begins_anew() {
    let flights = flights();
    let (seat, leads) = lead(flights.enter(1, 0, 10).unwrap());
    let waits = waiter(flights.enter(1, 0, 10).unwrap());
    leads.land(&7);
    drop(leads);
    let (other, next) = lead(flights.enter(1, 0, 10).unwrap());
    assert_eq!(waits.landed(), 7);
    drop((seat, other, next));
    assert!(is_empty(&flights));
}

#[test]
fn a_lead_that_is_given_up_is_the_longest_waiting_ones() {
    let flights = flights();
    let leads = lead(flights.enter(1, 0, 10).unwrap());
    let gone = waiter(flights.enter(1, 0, 10).unwrap());
    let first = waiter(flights.enter(1, 0, 10).unwrap());
    let mut second = waiter(flights.enter(1, 0, 10).unwrap());
    drop(gone);
    drop(leads);
    let (first, lead) = first.leads();
    assert!(second.is_waiting());
    // One who was told and leaves before it hears of it has given up too.
    drop((first, lead));
    drop(second);
    assert!(is_empty(&flights));
}

#[test]
fn who_led_may_leave_while_another_computes() {
    let flights = flights();
    let (seat, computes) = lead(flights.enter(1, 0, 10).unwrap());
    drop(seat);
    let waits = waiter(flights.enter(1, 0, 10).unwrap());
    computes.land(&3);
    assert_eq!(waits.landed(), 3);
    drop(computes);
    assert!(is_empty(&flights));
}

#[test]
fn who_wants_more_than_what_landed_leads_next_and_others_take_that() {
    let flights = flights();
    let leads = lead(flights.enter(1, 0, 10).unwrap());
    let strict = waiter(flights.enter(1, 5, 10).unwrap());
    let easy = waiter(flights.enter(1, 2, 10).unwrap());
    leads.1.land(&2);
    assert_eq!(easy.landed(), 2);
    drop(leads);
    let (strict, lead) = strict.leads();
    let Part::Has(2) = flights.enter(1, 1, 10).unwrap().1 else { panic!("it need not wait") };
    let also_strict = waiter(flights.enter(1, 4, 10).unwrap());
    lead.land(&9);
    assert_eq!(also_strict.landed(), 9);
    drop((lead, strict));
    assert!(is_empty(&flights));
}

#[test]
fn those_who_fly_are_bounded_in_count_and_bytes() {
    let flights = flights();
    let seats: Vec<_> = (0..4).map(|_| flights.enter(1, 0, 1).unwrap()).collect();
    assert!(flights.enter(2, 0, 1).is_none(), "four fly");
    drop(seats);
    let _large = flights.enter(1, 0, 90).unwrap();
    assert!(flights.enter(2, 0, 11).is_none(), "a byte too many");
    assert!(flights.enter(2, 0, 10).is_some());
}
