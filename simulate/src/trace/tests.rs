use proptest::prelude::*;

use super::*;

/// A file of two models, two requests and a rollout, byte by byte.
const GOLDEN: &[u8] = b"forebay-trace v1\x02\x03vad\x3c\x06magika\x00\
    \x00\x00\x00\x08\x07\x06\x05\x04\x03\x02\x01\xdc\x0b\x40\
    \x01\xc0\x84\x3d\x01\
    \x00\x05\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x0f\x00";

/// The same two requests and rollout, recorded from 1,700,000,000,000 ms on for an hour at a rate of an eighth but for one; of the second
/// model nothing is known.
const GOLDEN_2: &[u8] = b"forebay-trace v2\x80\xd0\x95\xff\xbc\x31\x80\xdd\xdb\x01\xff\xff\xff\xff\x01\x02\x03vad\x3d\x06magika\x00\
    \x00\x00\x00\x08\x07\x06\x05\x04\x03\x02\x01\xdc\x0b\x40\
    \x01\xc0\x84\x3d\x01\
    \x00\x05\x01\xff\xff\xff\xff\xfe\xff\xff\x1f\xff\xff\xff\xff\x0f\x00";

const RECORDED: Recorded =
    Recorded { begin_ms: 1_700_000_000_000, length_ms: 3_600_000, rate: (1 << 29) - 1 };

fn models() -> Vec<Model> {
    let model = |name: &str, max_age_s| Model { name: name.to_owned(), max_age_s };
    vec![model("vad", Some(60)), model("magika", Some(0))]
}

/// Those of the second golden file.
fn models_2() -> Vec<Model> {
    let [vad, magika] = models().try_into().unwrap();
    vec![vad, Model { max_age_s: None, ..magika }]
}

fn records() -> Vec<Record> {
    records_of(u64::MAX)
}

fn records_of(last: u64) -> Vec<Record> {
    let asked = |key, cost_us, bytes| What::Asked { key, cost_us, bytes };
    vec![
        Record { at_us: 0, model: 0, what: asked(0x0102_0304_0506_0708, 1500, 64) },
        Record { at_us: 1_000_000, model: 1, what: What::Rollout },
        Record { at_us: 1_000_005, model: 1, what: asked(last, u32::MAX, 0) },
    ]
}

fn written(recorded: Option<&Recorded>, models: &[Model], records: &[Record]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = Writer::new(recorded, models, &mut file);
    for record in records {
        writer.put(record, &mut file);
    }
    file
}

fn refused(file: &[u8]) -> String {
    let read = Trace::read(file).and_then(|trace| trace.records().collect::<Result<Vec<_>, _>>());
    read.unwrap_err().to_string()
}

#[test]
fn the_golden_files_are_what_they_were() {
    // The last key that the rate has.
    let last = u64::from(RECORDED.rate - 1) << 32 | u64::from(u32::MAX);
    for (golden, recorded, models, records) in
        [(GOLDEN, None, models(), records()), (GOLDEN_2, Some(RECORDED), models_2(), records_of(last))]
    {
        assert_eq!(written(recorded.as_ref(), &models, &records), golden);
        let trace = Trace::read(golden).unwrap();
        assert_eq!((trace.recorded, &trace.models), (recorded, &models));
        assert_eq!(trace.records().collect::<Result<Vec<_>, _>>().unwrap(), records);
    }
}

#[test]
fn a_file_that_is_cut_anywhere_says_where_or_ends_between_records() {
    for golden in [GOLDEN, GOLDEN_2] {
        let whole = Trace::read(golden).unwrap().records().count();
        for end in 0..golden.len() {
            match Trace::read(&golden[..end]) {
                Err(TraceError::Magic) => assert!(end < MAGIC.len()),
                Err(error) => {
                    let error = error.to_string();
                    assert!(
                        error.contains("its list of models") || error.contains("its beginning"),
                        "{error}"
                    );
                }
                Ok(trace) => {
                    let records: Vec<_> = trace.records().collect();
                    let ends = |error: &TraceError| matches!(error, TraceError::Ends(_));
                    assert!(
                        records.len() <= whole && records.iter().all(|it| it.as_ref().err().is_none_or(ends))
                    );
                }
            }
        }
    }
}

#[test]
fn what_can_not_be_is_refused_with_its_place() {
    let with = |rest: &[u8]| [&MAGIC[..], rest].concat();
    assert!(refused(b"forebay-trace v3\x01").contains("version 1 or 2"));
    assert!(refused(&with(b"\x00")).contains("0 models"));
    assert!(refused(&with(b"\x81\x20")).contains("4097 models"));
    assert!(refused(&with(b"\x01\x00")).contains("a name of 0 bytes"));
    assert!(refused(&with(b"\x01\x01\xff\x00")).contains("not UTF-8"));
    assert!(refused(&with(b"\x01\x01m\x00\x02")).contains("ends inside record 1"));
    assert!(refused(&with(b"\x01\x01m\x00\x02\x00\x00")).contains("of kind 2"));
    assert!(refused(&with(b"\x01\x01m\x00\x01\x00\x01")).contains("of model 1; there are 1"));
    assert!(refused(&with(b"\x01\x01m\x00\x01\x80\x80\x80\x80\x80\x80\x80\x01\x00")).contains("later than"));
    // 1 in two bytes, and more than 64 bits.
    assert!(refused(&with(b"\x81\x00")).contains("wrong number"));
    assert!(
        refused(&with(b"\x01\x01m\x00\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f")).contains("wrong number")
    );
    assert!(refused(&with(b"\x01\x01m\xff\xff\xff\xff\x7f")).contains("wrong number"));
}

#[test]
fn what_a_recorded_trace_can_not_say_is_refused_with_its_place() {
    let with = |rest: &[u8]| [&MAGIC_2[..], rest].concat();
    // From 1 on, for 2 ms, of an eighth of the keys.
    let head = |rest: &[u8]| with(&[b"\x01\x02\x80\x80\x80\x80\x02\x01\x01m\x00", rest].concat());
    assert!(Trace::read(&head(b"")).is_ok_and(|trace| trace.records().count() == 0));
    assert!(refused(&with(b"\x81\x80\x80\x80\x80\x80\x10\x02\x80\x20")).contains("up to 2^46"));
    assert!(refused(&with(b"\x01\x02\xff\x1f\x01\x01m\x00")).contains("rate is 4095"));
    assert!(refused(&with(b"\x01\xff\xff\xff\xff\x1f")).contains("wrong number in its beginning"));
    assert!(refused(&head(b"\x01\xd1\x0f\x00")).contains("later than its end, 2000 microseconds"));
    let key = [0, 0, 0, 0, 0, 0, 0, 0x20];
    assert!(refused(&head(&[b"\x00\x00\x00", &key[..], b"\x00\x00"].concat())).contains("rate leaves out"));
}

/// What a trace may say of how it was recorded.
fn recorded() -> impl Strategy<Value = Option<Recorded>> {
    let some = (0..=MOST_BEGIN_MS, 1 << 26..=u32::MAX, LEAST_RATE..=ALL);
    prop::option::of(some.prop_map(|(begin_ms, length_ms, rate)| Recorded { begin_ms, length_ms, rate }))
}

proptest! {
    #[test]
    fn what_was_written_is_read_back(
        recorded in recorded(),
        gaps in prop::collection::vec((0..1_u64 << 30, 0..2_u32, any::<Option<(u64, u32, u32)>>()), 0..50),
    ) {
        let mut at_us = 0;
        let records: Vec<Record> = gaps.into_iter().map(|(gap, model, asked)| {
            at_us += gap;
            let sampled = |key| recorded.map_or(key, |recorded| key % (u64::from(recorded.rate) << 32));
            let asked = asked.map(|(key, cost_us, bytes)| What::Asked { key: sampled(key), cost_us, bytes });
            Record { at_us, model, what: asked.unwrap_or(What::Rollout) }
        }).collect();
        let models = if recorded.is_some() { models_2() } else { models() };
        let file = written(recorded.as_ref(), &models, &records);
        let trace = Trace::read(&file).unwrap();
        prop_assert_eq!((trace.recorded, &trace.models), (recorded, &models));
        prop_assert_eq!(trace.records().collect::<Result<Vec<_>, _>>().unwrap(), records);
    }

    #[test]
    fn whatever_is_read_is_written_as_it_was(
        is_recorded: bool,
        rest in prop::collection::vec(0..6_u8, 0..60),
    ) {
        let head = if is_recorded { &b"forebay-trace v2\x05\x7f\x80\x20"[..] } else { &MAGIC[..] };
        let file = [head, b"\x02\x01a\x05\x01b\x00", &rest].concat();
        let trace = Trace::read(&file).unwrap();
        if let Ok(records) = trace.records().collect::<Result<Vec<_>, _>>() {
            prop_assert_eq!(written(trace.recorded.as_ref(), &trace.models, &records), file);
        }
    }
}
