//! What the engine has no function for, and what [`super::macros`] call.

use std::cmp::Ordering;
use std::sync::Arc;

use kube_cel::cel::extractors::This;
use kube_cel::cel::objects::{Key, Map};
use kube_cel::cel::{Context, ResolveResult, Value};

/// Makes them known.
pub(super) fn add(context: &mut Context<'static>) {
    add_one(context, "dyn", Value::clone);
    add_one(context, "keysOf", keys_of);
    add_one(context, "mapOf", map_of);
    add_one(context, "sortedByFirst", sorted_by_first);
}

fn add_one(context: &mut Context<'static>, name: &str, function: fn(&Value) -> Value) {
    context.add_function(name, move |This(of): This<Value>| -> ResolveResult { Ok(function(&of)) });
}

/// Keys of a map, or the numbers of a list's items.
fn keys_of(of: &Value) -> Value {
    match of {
        Value::List(items) => list((0..).take(items.len()).map(Value::Int).collect()),
        Value::Map(of) => {
            let mut keys: Vec<&Key> = of.map.keys().collect();
            keys.sort();
            list(keys.into_iter().map(value).collect())
        }
        other => other.clone(),
    }
}

/// A map of pairs.
fn map_of(pairs: &Value) -> Value {
    let pairs = items(pairs);
    let pairs = pairs.iter().filter_map(|pair| match items(pair).as_slice() {
        [Value::String(key), value] => Some((Key::String(key.clone()), value.clone())),
        [Value::Int(key), value] => Some((Key::Int(*key), value.clone())),
        [Value::UInt(key), value] => Some((Key::Uint(*key), value.clone())),
        [Value::Bool(key), value] => Some((Key::Bool(*key), value.clone())),
        _ => None,
    });
    Value::Map(Map { map: Arc::new(pairs.collect()) })
}

/// The seconds of pairs, in the order of the firsts.
fn sorted_by_first(pairs: &Value) -> Value {
    let mut pairs: Vec<Vec<Value>> = items(pairs).iter().map(items).collect();
    pairs.sort_by(|one, other| one.first().partial_cmp(&other.first()).unwrap_or(Ordering::Equal));
    list(pairs.into_iter().filter_map(|pair| pair.into_iter().nth(1)).collect())
}

fn items(of: &Value) -> Vec<Value> {
    match of {
        Value::List(items) => items.to_vec(),
        _ => Vec::new(),
    }
}

fn list(items: Vec<Value>) -> Value {
    Value::List(Arc::new(items))
}

fn value(key: &Key) -> Value {
    match key {
        Key::Int(key) => Value::Int(*key),
        Key::Uint(key) => Value::UInt(*key),
        Key::Bool(key) => Value::Bool(*key),
        Key::String(key) => Value::String(key.clone()),
    }
}
