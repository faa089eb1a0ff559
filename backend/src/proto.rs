//! The messages of `proto/`: what gRPC carries, what `config.pbtxt` says, and what the routes of management answer as
//! JSON. One vocabulary for both protocols.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor, SerializeOptions};
use std::sync::LazyLock;

/// Written by the build script.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, dead_code)]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/inference.rs"));
}

pub(crate) use generated::*;

/// KEDA's words for a scaler that stands outside of it.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub(crate) mod scaler {
    include!(concat!(env!("OUT_DIR"), "/externalscaler.rs"));
}

static DESCRIPTORS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(&include_bytes!(concat!(env!("OUT_DIR"), "/inference.bin"))[..])
        .expect("the build script wrote these descriptors")
});

/// The descriptor of a message of `proto/`, such as `ModelConfig`.
pub(crate) fn descriptor(name: &str) -> MessageDescriptor {
    let full_name = format!("inference.{name}");
    DESCRIPTORS.get_message_by_name(&full_name).expect("called with names of proto/ only")
}

/// The paths of all calls.
#[cfg(test)]
pub(crate) fn calls() -> Vec<String> {
    let methods = DESCRIPTORS.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    methods.map(|method| format!("/{}/{}", method.parent_service().full_name(), method.name())).collect()
}

/// A message as Triton writes it as JSON: fields by their names in `proto/`, those with default values too, 64-bit
/// integers as numbers.
pub(crate) fn to_json(name: &str, message: &impl Message) -> serde_json::Value {
    let mut dynamic = DynamicMessage::new(descriptor(name));
    dynamic.transcode_from(message).expect("the name is the message's own");
    let options = SerializeOptions::new()
        .skip_default_fields(false)
        .stringify_64_bit_integers(false)
        .use_proto_field_name(true);
    dynamic
        .serialize_with_options(serde_json::value::Serializer, &options)
        .expect("a message has a JSON form")
}
