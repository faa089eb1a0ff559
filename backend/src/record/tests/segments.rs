//! Segments as files: the golden bytes, and whatever is cut off, changed, moved or of another key.

use super::*;

/// Written by tests/clients/records.py --golden.
const GOLDEN: &[u8] = include_bytes!("../golden-2.record");
/// The same before there were whole requests.
const FORMER: &[u8] = include_bytes!("../golden-1.record");
/// Of the golden segment.
const GOLDEN_KEY: Key = Key::of([7; 32]);

/// A request to version 2 as it is recorded: with a parameter that is left out, if it has no values.
fn record(time_ms: u64, data: &[u8]) -> Recorded {
    let mut asked = request("m", data.to_vec());
    asked.outputs.push(InferRequestedOutputTensor { name: "y".into(), ..Default::default() });
    if data.is_empty() {
        asked.parameters.insert("p".into(), InferParameter { choice: Some(Choice::Bool(true)) });
    }
    recorded("2", &asked, !data.is_empty(), time_ms)
}

/// A segment of these records.
fn segment(folder: &Path, key: &Key, salt: u8, records: &[&[u8]]) -> PathBuf {
    let header = Header::new(1_800_000_000_000, [salt; 32], "m");
    let path = folder.join(folder::SEGMENTS.salted(header.began_ms, &header.salt).to_string());
    let mut begun = Begun::begin(path.clone(), key, &header).unwrap();
    for (time, data) in (header.began_ms..).zip(records) {
        begun = begun.append(Frame::of(&record(time, data))).unwrap();
    }
    begun.finish().unwrap();
    path
}

/// What comes of the file when it is read: values, then what is wrong.
fn outcome(folder: &Path) -> (Vec<Bytes>, Option<RecordError>) {
    let mut wrong = None;
    let good =
        read(folder, &GOLDEN_KEY, "m").map_while(|item| item.map_err(|error| wrong = Some(error)).ok());
    let values = good.map(|recorded| recorded.request.raw_input_contents[0].clone()).collect();
    (values, wrong)
}

#[test]
fn the_format_is_the_golden_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = segment(folder.path(), &GOLDEN_KEY, 5, &[b"abc", b"", b"defg"]);
    let bytes = fs::read(path).unwrap();
    assert_eq!(bytes, GOLDEN, "another format is another version");
    let (values, wrong) = outcome(folder.path());
    assert_eq!((values, wrong.is_none()), (vec!["abc".into(), "".into(), "defg".into()], true));
}

#[test]
fn segments_of_the_former_version_are_read() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(folder::SEGMENTS.salted(1, &[5; 32]).to_string()), FORMER).unwrap();
    let read: Vec<_> = read(folder.path(), &GOLDEN_KEY, "m").map(Result::unwrap).collect();
    let values = read.iter().map(|recorded| recorded.request.raw_input_contents[0].clone());
    assert_eq!(values.collect::<Vec<_>>(), ["abc", "", "defg"]);
    assert!(read.iter().all(|recorded| !recorded.is_whole && recorded.request.model_version == "2"));
}

#[test]
fn cut_anywhere_it_gives_what_is_whole_and_says_that_it_is_unfinished() {
    let folder = tempfile::tempdir().unwrap();
    let path = segment(folder.path(), &GOLDEN_KEY, 5, &[b"abc", b"", b"defg"]);
    let mut whole = Vec::new();
    for length in 0..GOLDEN.len() {
        fs::write(&path, &GOLDEN[..length]).unwrap();
        let (values, wrong) = outcome(folder.path());
        // Between two records it is as one that is being written.
        let is_unfinished = wrong.as_ref().is_none_or(RecordError::is_unfinished);
        let is_begun = length >= 16 || length == 0;
        assert_eq!(is_unfinished, is_begun, "{length}: {wrong:?}");
        whole.push(values.len());
    }
    assert!(whole.is_sorted() && whole.last() == Some(&3), "{whole:?}");
    // As some file systems leave it.
    let whole = GOLDEN.len() - usize::try_from(segment::END_BYTES).unwrap();
    let zeros = [&GOLDEN[..whole], &[0; 5000]].concat();
    fs::write(&path, zeros).unwrap();
    let (values, wrong) = outcome(folder.path());
    assert!(values.len() == 3 && wrong.unwrap().is_unfinished());
}

#[test]
fn whatever_byte_is_changed_no_other_value_comes_out() {
    let folder = tempfile::tempdir().unwrap();
    let path = segment(folder.path(), &GOLDEN_KEY, 5, &[b"abc", b"", b"defg"]);
    let values: Vec<Bytes> = vec!["abc".into(), "".into(), "defg".into()];
    for at in 0..GOLDEN.len() {
        let mut changed = GOLDEN.to_vec();
        changed[at] ^= 1;
        fs::write(&path, &changed).unwrap();
        let (found, wrong) = outcome(folder.path());
        assert!(values.starts_with(&found), "{at}: {found:?}");
        assert!(wrong.is_some(), "{at}");
    }
}

#[test]
fn records_that_change_places_or_segments_are_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let path = segment(folder.path(), &GOLDEN_KEY, 5, &[b"abc", b"xyz"]);
    let other = segment(folder.path(), &GOLDEN_KEY, 6, &[b"abc", b"xyz"]);
    let (bytes, others) = (fs::read(&path).unwrap(), fs::read(&other).unwrap());
    fs::remove_file(other).unwrap();
    let header = usize::try_from(Header::length("m")).unwrap();
    let record = (bytes.len() - header - usize::try_from(segment::END_BYTES).unwrap()) / 2;
    let parts = |bytes: &[u8]| -> [Vec<u8>; 4] {
        let (head, rest) = bytes.split_at(header);
        let (first, rest) = rest.split_at(record);
        let (second, end) = rest.split_at(record);
        [head, first, second, end].map(<[u8]>::to_vec)
    };
    let ([head, first, second, end], [_, foreign, _, _]) = (parts(&bytes), parts(&others));
    let wrong = |parts: &[&Vec<u8>]| {
        let bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        fs::write(&path, bytes).unwrap();
        let (values, wrong) = outcome(folder.path());
        (values.len(), wrong.map(|wrong| wrong.to_string()).unwrap_or_default())
    };
    assert_eq!(wrong(&[&head, &first, &second, &end]), (2, String::new()));
    for (parts, values, said) in [
        ([&head, &second, &first, &end], 0, "record 0 was changed or moved"),
        ([&head, &first, &first, &end], 1, "record 1 was changed or moved"),
        ([&head, &foreign, &second, &end], 0, "record 0 was changed or moved"),
        ([&head, &first, &end, &end], 1, "record 1 was changed or moved"),
    ] {
        let (found, wrong) = wrong(&parts);
        assert!(found == values && wrong.contains(said), "{found} {wrong}");
    }
    assert!(wrong(&[&head, &first, &second, &end, &first]).1.contains("has bytes behind its end"));
}

#[test]
fn what_is_no_segment_or_of_another_version_or_key_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = segment(folder.path(), &GOLDEN_KEY, 5, &[b"abc"]);
    let said = |bytes: &[u8], key: &Key| {
        fs::write(&path, bytes).unwrap();
        read(folder.path(), key, "m").next().unwrap().unwrap_err().to_string()
    };
    let mut newer = GOLDEN.to_vec();
    newer[15] = b'3';
    let said_of_newer = said(&newer, &GOLDEN_KEY);
    assert!(said_of_newer.ends_with("is a segment of version 3: this program reads versions 1 and 2"));
    assert!(said(b"forebay.re", &GOLDEN_KEY).contains("is no segment of records"));
    assert!(said(GOLDEN, &Key::of([8; 32])).contains("was written with another key"));
    let said = read(&folder.path().join("none"), &GOLDEN_KEY, "m").next().unwrap().unwrap_err();
    assert!(said.to_string().starts_with("records: can't read") && !said.is_unfinished(), "{said}");
}

#[test]
fn a_write_that_fails_ends_the_segment_so_that_no_nonce_comes_twice() {
    let folder = tempfile::tempdir().unwrap();
    let frame = || Frame::of(&record(1, b"a"));
    // A file that may only be read fails each write, as a full disk does.
    let begun = |name: &str, records| {
        let path = folder.path().join(name);
        fs::write(&path, "as far as it went").unwrap();
        let header = Header::new(1, [1; 32], "m");
        (path.clone(), Begun::unwritable(path, &GOLDEN_KEY, &header, records).unwrap())
    };
    // The segment is taken by value, and not given back.
    let (path, some) = begun("some", 1);
    assert!(some.append(frame()).is_err() && path.exists());
    let (path, none) = begun("none", 0);
    assert!(none.append(frame()).is_err() && !path.exists(), "one without a record is dropped");
}

#[test]
fn what_reads_a_segment_says_what_is_wrong_with_its_error() {
    let torn = SegmentError::Torn { record: None };
    assert_eq!(torn.to_string(), "ends within its header: its writing was cut off, or goes on");
}
