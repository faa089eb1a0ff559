//! What was asked in a time that is over -> the bytes of a trace, version 2.

use std::collections::HashMap;
use std::sync::Arc;

use forebay_simulate::trace::{Model, Record, Recorded, Writer};

use super::held::Period;

/// The trace; rows are in the order of time, and of one at least.
pub(super) fn encoded(period: &Period) -> Vec<u8> {
    let mut places: HashMap<Arc<str>, u32> = HashMap::new();
    let mut models = Vec::new();
    for row in &period.rows {
        places.entry(row.model.clone()).or_insert_with(|| {
            let max_age_s = period.fresh.get(&row.model).copied();
            models.push(Model { name: row.model.to_string(), max_age_s });
            u32::try_from(models.len() - 1).unwrap_or(u32::MAX)
        });
    }
    let recorded = Recorded {
        begin_ms: period.begin_ms,
        length_ms: u32::try_from(period.end_ms - period.begin_ms).unwrap_or(u32::MAX),
        rate: period.rate,
    };
    let mut file = Vec::new();
    let mut writer = Writer::new(Some(&recorded), &models, &mut file);
    for row in &period.rows {
        let model = places.get(&row.model).copied().unwrap_or(0);
        writer.put(&Record { at_us: (row.at_ms - period.begin_ms) * 1000, model, what: row.what }, &mut file);
    }
    file
}
