use proptest::prelude::*;

use super::*;

/// A file of two models, two requests and a rollout, byte by byte.
const GOLDEN: &[u8] = b"forebay-trace v1\x02\x03vad\x3c\x06magika\x00\
    \x00\x00\x00\x08\x07\x06\x05\x04\x03\x02\x01\xdc\x0b\x40\
    \x01\xc0\x84\x3d\x01\
    \x00\x05\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x0f\x00";

fn models() -> Vec<Model> {
    let model = |name: &str, max_age_s| Model { name: name.to_owned(), max_age_s };
    vec![model("vad", 60), model("magika", 0)]
}

fn records() -> Vec<Record> {
    let asked = |key, cost_us, bytes| What::Asked { key, cost_us, bytes };
    vec![
        Record { at_us: 0, model: 0, what: asked(0x0102_0304_0506_0708, 1500, 64) },
        Record { at_us: 1_000_000, model: 1, what: What::Rollout },
        Record { at_us: 1_000_005, model: 1, what: asked(u64::MAX, u32::MAX, 0) },
    ]
}

fn written(models: &[Model], records: &[Record]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = Writer::new(models, &mut file);
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
fn the_golden_file_is_what_it_was() {
    assert_eq!(written(&models(), &records()), GOLDEN);
    let trace = Trace::read(GOLDEN).unwrap();
    assert_eq!(trace.models, models());
    assert_eq!(trace.records().collect::<Result<Vec<_>, _>>().unwrap(), records());
}

#[test]
fn a_file_that_is_cut_anywhere_says_where_or_ends_between_records() {
    let whole = Trace::read(GOLDEN).unwrap().records().count();
    for end in 0..GOLDEN.len() {
        match Trace::read(&GOLDEN[..end]) {
            Err(TraceError::Magic) => assert!(end < MAGIC.len()),
            Err(error) => assert!(error.to_string().contains("its list of models"), "{error}"),
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

#[test]
fn what_can_not_be_is_refused_with_its_place() {
    let with = |rest: &[u8]| [&MAGIC[..], rest].concat();
    assert!(refused(b"forebay-trace v2\x01").contains("version 1"));
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

proptest! {
    #[test]
    fn what_was_written_is_read_back(gaps in prop::collection::vec((0..1_u64 << 30, 0..2_u32, any::<Option<(u64, u32, u32)>>()), 0..50)) {
        let mut at_us = 0;
        let records: Vec<Record> = gaps.into_iter().map(|(gap, model, asked)| {
            at_us += gap;
            let what = asked.map_or(What::Rollout, |(key, cost_us, bytes)| What::Asked { key, cost_us, bytes });
            Record { at_us, model, what }
        }).collect();
        let file = written(&models(), &records);
        let trace = Trace::read(&file).unwrap();
        prop_assert_eq!(trace.records().collect::<Result<Vec<_>, _>>().unwrap(), records);
    }

    #[test]
    fn whatever_is_read_is_written_as_it_was(rest in prop::collection::vec(0..6_u8, 0..60)) {
        let file = [&MAGIC[..], b"\x02\x01a\x05\x01b\x00", &rest].concat();
        let trace = Trace::read(&file).unwrap();
        if let Ok(records) = trace.records().collect::<Result<Vec<_>, _>>() {
            prop_assert_eq!(written(&trace.models, &records), file);
        }
    }
}
