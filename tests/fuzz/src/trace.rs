//! What `forebay simulate` reads.

use forebay_simulate::trace::{Trace, Writer};

/// What is read is written as it was, to the byte.
pub(crate) fn trace(data: &[u8]) {
    let Ok(trace) = Trace::read(data) else { return };
    let Ok(records) = trace.records().collect::<Result<Vec<_>, _>>() else { return };
    let mut written = Vec::new();
    let mut writer = Writer::new(trace.recorded.as_ref(), &trace.models, &mut written);
    for record in &records {
        writer.put(record, &mut written);
    }
    assert_eq!(written, data);
}
