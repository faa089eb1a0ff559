//! Where requests differ: in the first elements of the first inputs, as many as make enough different requests.

use forebay_protocol::datatype::DataType;
use forebay_protocol::tensor::Elements as RawElements;

use crate::client::inputs::{Asked, Elements};

/// So many different requests are enough for any run.
const ENOUGH: u64 = 1 << 48;

/// One element in the bytes that are sent.
#[derive(Clone, Debug)]
pub(in crate::client) struct Spot {
    pub(in crate::client) offset: usize,
    pub(in crate::client) elements: Elements,
    /// Is it JSON there?
    pub(in crate::client) is_text: bool,
}

impl Spot {
    /// The id's, if the request has one.
    pub(super) fn of_id(asked: &Asked, offset: usize, is_text: bool) -> Option<Self> {
        let length = asked.request.id.len();
        (length > 0).then(|| Self { offset, elements: Elements::strings(length), is_text })
    }

    /// Writes value `number` there.
    pub(super) fn fill(&self, number: u64, bytes: &mut [u8]) {
        if self.is_text {
            self.elements.json(number, &mut bytes[self.offset..self.offset + self.elements.width()]);
        } else {
            self.elements.raw(number, &mut bytes[self.offset..self.offset + self.elements.size()]);
        }
    }
}

/// How many elements of each input differ.
pub(super) struct Differing(Vec<usize>);

impl Differing {
    pub(super) fn none(asked: &Asked) -> Self {
        Self(vec![0; asked.elements.len()])
    }

    pub(super) fn of(asked: &Asked) -> Self {
        let mut variants: u64 = 1;
        let differing = (0..asked.elements.len()).map(|input| {
            let mut elements = elements_of(asked, input);
            let mut count = 0;
            while variants < ENOUGH
                && let Some((_, element)) = elements.next()
            {
                variants = variants.saturating_mul(element.count());
                count += 1;
            }
            count
        });
        Self(differing.collect())
    }

    /// How many different requests they make.
    pub(super) fn variants(&self, asked: &Asked) -> u64 {
        let all = self.0.iter().enumerate();
        all.flat_map(|(input, count)| elements_of(asked, input).take(*count))
            .fold(1, |all, (_, element)| all.saturating_mul(element.count()))
    }

    pub(super) fn of_input(&self, input: usize) -> usize {
        self.0[input]
    }

    /// The spots in what ends with the inputs' raw values, `end` bytes in all. `prefix` is what stands before each of them.
    pub(super) fn at_the_end(&self, asked: &Asked, end: usize, prefix: fn(usize) -> usize) -> Vec<Spot> {
        let lengths = asked.request.raw_input_contents.iter().map(bytes::Bytes::len);
        let mut begin = end - lengths.clone().map(|length| prefix(length) + length).sum::<usize>();
        let mut spots = Vec::new();
        for (input, length) in lengths.enumerate() {
            let first = begin + prefix(length);
            let elements = elements_of(asked, input).take(self.0[input]);
            spots.extend(elements.map(|(offset, elements)| Spot {
                offset: first + offset,
                elements,
                is_text: false,
            }));
            begin = first + length;
        }
        spots
    }
}

/// Each element of an input: where it is in the raw values, and which values it may have.
pub(super) fn elements_of(asked: &Asked, input: usize) -> Box<dyn Iterator<Item = (usize, Elements)> + '_> {
    let (elements, data) = (asked.elements[input], &asked.request.raw_input_contents[input]);
    if elements.datatype != DataType::Bytes {
        let size = elements.size().max(1);
        return Box::new((0..data.len() / size).map(move |index| (index * size, elements)));
    }
    let mut begin = 0;
    let strings = RawElements(data).map_while(Result::ok).map(move |string| {
        let offset = begin + 4;
        begin = offset + string.len();
        (offset, Elements::strings(string.len()))
    });
    Box::new(strings)
}
