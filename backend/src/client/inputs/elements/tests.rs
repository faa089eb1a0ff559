use std::collections::HashSet;

use forebay_protocol::datatype::ALL;
use forebay_protocol::limits::Limits;
use forebay_protocol::tensor::check_raw;

use super::*;

fn range(least: f64, most: f64) -> Range {
    Range { name: "x".to_owned(), least, most }
}

fn raw(elements: &Elements, number: u64) -> Vec<u8> {
    let mut bytes = vec![0; elements.size()];
    elements.raw(number, &mut bytes);
    bytes
}

#[test]
fn every_datatype_has_values_that_are_its_own_and_differ() {
    for datatype in ALL {
        let elements = Elements::of(datatype, None, 8).unwrap();
        let count = elements.count().min(4096);
        let all: HashSet<Vec<u8>> = (0..count).map(|number| raw(&elements, number)).collect();
        assert_eq!(all.len() as u64, count, "{datatype}");
        for one in all {
            let length = u32::try_from(one.len()).unwrap().to_le_bytes();
            let element = if datatype == DataType::Bytes { [&length[..], &one].concat() } else { one };
            assert_eq!(check_raw(datatype, &[1], &element, &Limits::default()), Ok(()), "{datatype}");
        }
    }
}

#[test]
fn the_last_value_of_a_range_is_its_end_and_no_more() {
    for (datatype, least, most) in [
        (DataType::Int8, -128.0, 127.0),
        (DataType::Uint8, 0.0, 255.0),
        (DataType::Int64, -5.0, 30_000.0),
        (DataType::Uint64, 7.0, 9.0),
        (DataType::Bool, 0.0, 1.0),
    ] {
        let elements = Elements::of(datatype, Some(&range(least, most)), 0).unwrap();
        let text = |number| {
            let mut out = vec![b'?'; elements.width()];
            elements.json(number, &mut out);
            String::from_utf8(out).unwrap().trim().to_owned()
        };
        let said = if datatype == DataType::Bool {
            ["false".into(), "true".into()]
        } else {
            [least, most].map(|end| end.to_string())
        };
        assert_eq!([text(0), text(elements.count() - 1)], said, "{datatype}");
    }
}

#[test]
fn a_range_beyond_the_datatype_is_refused_with_what_would_do() {
    let said = Elements::of(DataType::Uint8, Some(&range(0.0, 256.0)), 0).unwrap_err().to_string();
    assert!(said.contains("x is UINT8") && said.contains("from 0 to 255"), "{said}");
    assert!(Elements::of(DataType::Fp16, Some(&range(0.0, 70_000.0)), 0).is_err());
    assert!(Elements::of(DataType::Bytes, Some(&range(0.0, 1.0)), 8).is_err());
}

#[test]
fn a_narrow_range_far_from_zero_has_fewer_values_and_all_differ() {
    for datatype in [DataType::Fp32, DataType::Bf16, DataType::Fp16, DataType::Fp64] {
        let elements = Elements::of(datatype, Some(&range(1000.0, 1001.0)), 0).unwrap();
        let count = elements.count().min(100_000);
        let all: HashSet<Vec<u8>> = (0..count).map(|number| raw(&elements, number)).collect();
        assert_eq!(all.len() as u64, count, "{datatype}");
    }
    let one = Elements::of(DataType::Fp32, Some(&range(0.5, 0.5)), 0).unwrap();
    assert_eq!((one.count(), raw(&one, 0)), (1, 0.5_f32.to_le_bytes().to_vec()));
}

#[test]
fn json_says_the_same_value_as_raw_bytes() {
    for datatype in
        ALL.into_iter().filter(|datatype| datatype.has_json_form() && *datatype != DataType::Bytes)
    {
        let elements = Elements::of(datatype, None, 0).unwrap();
        for number in [0, 1, elements.count() / 2, elements.count() - 1] {
            let mut json = vec![0; elements.width()];
            elements.json(number, &mut json);
            let mut written = Vec::new();
            forebay_protocol::response::write_values(&mut written, "x", datatype, &raw(&elements, number))
                .unwrap();
            assert_eq!(json.trim_ascii_end(), written, "{datatype}");
        }
    }
}
