//! An ONNX model enters; what would end the process inside of TensorRT's parser doesn't leave.
//!
//! The parser takes the first output of each node without a look whether there is one (seen with TensorRT-RTX 1.7.1). Everything
//! else is left to its own errors, what isn't protobuf too. Nothing is copied: models are large.

use crate::error::Error;

/// Graphs in nodes of graphs: the parser recurses.
const DEPTH: usize = 32;

/// Numbers of fields in `onnx.proto3`.
mod field {
    pub(super) const MODEL_GRAPH: u64 = 7;
    pub(super) const MODEL_FUNCTIONS: u64 = 25;
    pub(super) const GRAPH_NODE: u64 = 1;
    pub(super) const FUNCTION_NODE: u64 = 7;
    pub(super) const NODE_OUTPUT: u64 = 2;
    pub(super) const NODE_NAME: u64 = 3;
    pub(super) const NODE_OP_TYPE: u64 = 4;
    pub(super) const NODE_ATTRIBUTE: u64 = 5;
    pub(super) const ATTRIBUTE_GRAPH: u64 = 6;
    pub(super) const ATTRIBUTE_GRAPHS: u64 = 11;
}

/// # Errors
/// A node has no output, or graphs are nested too deep.
pub(super) fn check(model: &[u8]) -> Result<(), Error> {
    for (number, message) in Fields(model) {
        match number {
            field::MODEL_GRAPH => nodes(message, field::GRAPH_NODE, 0)?,
            field::MODEL_FUNCTIONS => nodes(message, field::FUNCTION_NODE, 0)?,
            _ => {}
        }
    }
    Ok(())
}

fn nodes(graph: &[u8], field: u64, depth: usize) -> Result<(), Error> {
    if depth == DEPTH {
        return Err(Error::Wrong(format!("the model nests graphs more than {DEPTH} deep")));
    }
    Fields(graph).filter(|(number, _)| *number == field).try_for_each(|(_, message)| node(message, depth))
}

fn node(message: &[u8], depth: usize) -> Result<(), Error> {
    let (mut name, mut operator, mut outputs) = (&[][..], &[][..], 0);
    for (number, value) in Fields(message) {
        match number {
            field::NODE_OUTPUT => outputs += 1,
            field::NODE_NAME => name = value,
            field::NODE_OP_TYPE => operator = value,
            field::NODE_ATTRIBUTE => attribute(value, depth)?,
            _ => {}
        }
    }
    if outputs == 0 {
        let (name, operator) = (String::from_utf8_lossy(name), String::from_utf8_lossy(operator));
        return Err(Error::Wrong(format!("node {name:?} ({operator:?}) of the model has no output")));
    }
    Ok(())
}

fn attribute(message: &[u8], depth: usize) -> Result<(), Error> {
    for (number, value) in Fields(message) {
        if matches!(number, field::ATTRIBUTE_GRAPH | field::ATTRIBUTE_GRAPHS) {
            nodes(value, field::GRAPH_NODE, depth + 1)?;
        }
    }
    Ok(())
}

/// The fields of a message that are bytes, with their numbers. Ends at what is no protobuf.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let key = self.varint()?;
            match key & 7 {
                0 => {
                    self.varint()?;
                }
                1 => {
                    self.take(8)?;
                }
                2 => {
                    let len = self.varint()?;
                    return Some((key >> 3, self.take(usize::try_from(len).ok()?)?));
                }
                5 => {
                    self.take(4)?;
                }
                _ => return None,
            }
        }
    }
}

impl<'a> Fields<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A field of bytes.
    fn field(number: u64, value: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for mut varint in [number << 3 | 2, value.len() as u64] {
            while varint >= 0x80 {
                bytes.push(varint.to_le_bytes()[0] | 0x80);
                varint >>= 7;
            }
            bytes.push(varint.to_le_bytes()[0]);
        }
        [&bytes, value].concat()
    }

    fn node_of(parts: &[(u64, &[u8])]) -> Vec<u8> {
        parts.iter().flat_map(|(number, value)| field(*number, value)).collect()
    }

    /// A model of one node.
    fn model(node: &[u8]) -> Vec<u8> {
        field(field::MODEL_GRAPH, &field(field::GRAPH_NODE, node))
    }

    fn refused(model: &[u8]) -> String {
        check(model).unwrap_err().to_string()
    }

    #[test]
    fn a_node_without_an_output_is_refused_by_its_name() {
        let name = (field::NODE_NAME, &b"last"[..]);
        let operator = (field::NODE_OP_TYPE, &b"Relu"[..]);
        check(&model(&node_of(&[name, operator, (field::NODE_OUTPUT, b"y")]))).unwrap();
        let node = node_of(&[name, operator]);
        let expected = "node \"last\" (\"Relu\") of the model has no output";
        assert_eq!(refused(&model(&node)), expected);
        // In a function, and in a graph of a node that is sound itself.
        let function = field(field::MODEL_FUNCTIONS, &field(field::FUNCTION_NODE, &node));
        assert_eq!(refused(&function), expected);
        let inner = field(field::ATTRIBUTE_GRAPH, &field(field::GRAPH_NODE, &node));
        let outer = node_of(&[(field::NODE_OUTPUT, b"y"), (field::NODE_ATTRIBUTE, &inner)]);
        assert_eq!(refused(&model(&outer)), expected);
    }

    #[test]
    fn graphs_nested_too_deep_are_refused() {
        let mut node = node_of(&[(field::NODE_OUTPUT, b"y")]);
        for _ in 0..DEPTH {
            check(&model(&node)).unwrap();
            let graph = field(field::ATTRIBUTE_GRAPHS, &field(field::GRAPH_NODE, &node));
            node = node_of(&[(field::NODE_OUTPUT, b"y"), (field::NODE_ATTRIBUTE, &graph)]);
        }
        assert_eq!(refused(&model(&node)), "the model nests graphs more than 32 deep");
    }

    #[test]
    fn what_is_no_protobuf_is_left_to_the_parser() {
        for bytes in [&b""[..], b"junk", &[0xff; 100], &[0x3a, 0xff, 0xff, 0xff, 0xff, 0x7f], &[0x0b; 8]] {
            check(bytes).unwrap();
        }
    }
}
