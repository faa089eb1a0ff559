//! Requests made up for tests, and the many ways to write each.

use bytes::Bytes;
use forebay_protocol::datatype::{ALL, DataType};
use forebay_protocol::messages::{
    Choice, InferInputTensor, InferParameter, InferRequestedOutputTensor, ModelInferRequest, Parameters,
};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) service: String,
    pub(crate) tenant: Option<String>,
    pub(crate) request: ModelInferRequest,
}

/// How a request is written: a source of small choices.
pub(crate) struct Style(pub(crate) u64);

impl Style {
    fn pick(&mut self, count: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % count
    }

    fn space(&mut self) -> &'static str {
        ["", "", " ", "\n\t", "\r\n  "][usize::try_from(self.pick(5)).unwrap()]
    }

    fn object(&mut self, mut members: Vec<(String, String)>) -> String {
        for index in (1..members.len()).rev() {
            members.swap(index, usize::try_from(self.pick(index as u64 + 1)).unwrap());
        }
        let members: Vec<String> = members
            .into_iter()
            .map(|(key, value)| {
                format!("{}{}{}:{}{value}", self.space(), self.string(&key), self.space(), self.space())
            })
            .collect();
        format!("{{{}{}}}", members.join(","), self.space())
    }

    fn array(&mut self, values: &[String]) -> String {
        let values: Vec<String> =
            values.iter().map(|value| format!("{}{value}{}", self.space(), self.space())).collect();
        format!("[{}{}]", self.space(), values.join(","))
    }

    fn string(&mut self, text: &str) -> String {
        if self.pick(3) == 0 {
            let units = text.encode_utf16().map(|unit| format!("\\u{unit:04x}"));
            return format!("\"{}\"", units.collect::<String>());
        }
        serde_json::to_string(text).unwrap()
    }

    fn parameters(
        &mut self,
        parameters: &Parameters,
        transport: Option<(&str, String)>,
    ) -> Vec<(String, String)> {
        let mut members: Vec<(String, String)> =
            transport.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        for (name, parameter) in parameters {
            let value = match parameter.choice.as_ref().unwrap() {
                Choice::Bool(value) => value.to_string(),
                Choice::Int64(value) => value.to_string(),
                Choice::Uint64(value) => value.to_string(),
                Choice::Double(value) => format!("{value:?}"),
                Choice::String(value) => self.string(value),
            };
            members.push((name.clone(), value));
        }
        if members.is_empty() && self.pick(2) == 0 {
            return Vec::new();
        }
        let object = self.object(members);
        vec![("parameters".to_owned(), object)]
    }

    /// `data` with the nesting of the shape, or flat.
    fn data(&mut self, values: &[String], shape: &[i64]) -> String {
        match shape {
            [] | [_] => self.array(values),
            _ if self.pick(2) == 0 => self.array(values),
            [rows, inner @ ..] => {
                let rows = usize::try_from(*rows).unwrap();
                let size = values.len().checked_div(rows).unwrap_or(0);
                let rows: Vec<String> =
                    (0..rows).map(|row| self.data(&values[row * size..(row + 1) * size], inner)).collect();
                self.array(&rows)
            }
        }
    }

    /// The whole request: JSON, and raw values behind it. In JSON alone only datatypes that have that form come along.
    pub(crate) fn write(&mut self, request: &ModelInferRequest, all_json: bool) -> (String, Vec<u8>) {
        let mut raw_parts = Vec::new();
        let mut inputs = Vec::new();
        for (input, raw) in request.inputs.iter().zip(&request.raw_input_contents) {
            let datatype: DataType = input.datatype.parse().unwrap();
            let values = json_values(datatype, raw).filter(|_| all_json || self.pick(2) == 0);
            let mut members = vec![
                ("name".to_owned(), self.string(&input.name)),
                ("datatype".to_owned(), self.string(&input.datatype)),
                ("shape".to_owned(), self.array(&input.shape.iter().map(i64::to_string).collect::<Vec<_>>())),
            ];
            if let Some(values) = values {
                members.push(("data".to_owned(), self.data(&values, &input.shape)));
                members.extend(self.parameters(&input.parameters, None));
            } else {
                raw_parts.extend_from_slice(raw);
                let size = Some(("binary_data_size", raw.len().to_string()));
                members.extend(self.parameters(&input.parameters, size));
            }
            inputs.push(self.object(members));
        }
        let mut members = vec![("inputs".to_owned(), self.array(&inputs))];
        members.extend(self.outputs(request));
        let binary_output =
            (self.pick(2) == 0).then(|| ("binary_data_output", (self.pick(2) == 0).to_string()));
        members.extend(self.parameters(&request.parameters, binary_output));
        if self.pick(2) == 0 {
            members.push(("id".to_owned(), self.string("any")));
        }
        if self.pick(2) == 0 {
            members.push(("model_name".to_owned(), "{\"any\":[1,{}]}".to_owned()));
        }
        (self.object(members), raw_parts)
    }

    fn outputs(&mut self, request: &ModelInferRequest) -> Vec<(String, String)> {
        let mut outputs: Vec<String> = Vec::new();
        for output in &request.outputs {
            let binary = (self.pick(2) == 0).then(|| ("binary_data", (self.pick(2) == 0).to_string()));
            let mut members = vec![("name".to_owned(), self.string(&output.name))];
            members.extend(self.parameters(&output.parameters, binary));
            outputs.push(self.object(members));
        }
        if self.pick(2) == 0 {
            outputs.reverse();
        }
        if outputs.is_empty() && self.pick(2) == 0 {
            return Vec::new();
        }
        vec![("outputs".to_owned(), self.array(&outputs))]
    }
}

/// A tensor's values as JSON; `None` when they have no such form.
fn json_values(datatype: DataType, raw: &[u8]) -> Option<Vec<String>> {
    macro_rules! numbers {
        ($type:ty) => {
            raw.as_chunks().0.iter().map(|bytes| <$type>::from_le_bytes(*bytes).to_string()).collect()
        };
    }
    let float = |text: String| text.replace("inf", "Infinity");
    Some(match datatype {
        DataType::Bool => raw.iter().map(|byte| (*byte == 1).to_string()).collect(),
        DataType::Uint8 => numbers!(u8),
        DataType::Uint16 => numbers!(u16),
        DataType::Uint32 => numbers!(u32),
        DataType::Uint64 => numbers!(u64),
        DataType::Int8 => numbers!(i8),
        DataType::Int16 => numbers!(i16),
        DataType::Int32 => numbers!(i32),
        DataType::Int64 => numbers!(i64),
        DataType::Fp32 => {
            raw.as_chunks().0.iter().map(|bytes| float(format!("{:?}", f32::from_le_bytes(*bytes)))).collect()
        }
        DataType::Fp64 => {
            raw.as_chunks().0.iter().map(|bytes| float(format!("{:?}", f64::from_le_bytes(*bytes)))).collect()
        }
        DataType::Fp16 | DataType::Bf16 => return None,
        DataType::Bytes => {
            let mut values = Vec::new();
            let mut rest = raw;
            while let Some((length, after)) = rest.split_first_chunk::<4>() {
                let (element, after) = after.split_at(usize::try_from(u32::from_le_bytes(*length)).unwrap());
                values.push(serde_json::to_string(std::str::from_utf8(element).unwrap()).unwrap());
                rest = after;
            }
            values
        }
    })
}

/// Values of a tensor in raw form; NaNs as JSON's NaN.
pub(crate) fn raw_values(datatype: DataType, count: usize) -> BoxedStrategy<Vec<u8>> {
    let single = |value: f32| if value.is_nan() { 0x7fc0_0000 } else { value.to_bits() };
    let double = |value: f64| if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() };
    let element = match datatype {
        DataType::Bool => any::<bool>().prop_map(|value| vec![u8::from(value)]).boxed(),
        DataType::Fp32 => any::<f32>().prop_map(move |value| single(value).to_le_bytes().to_vec()).boxed(),
        DataType::Fp64 => any::<f64>().prop_map(move |value| double(value).to_le_bytes().to_vec()).boxed(),
        DataType::Bytes => any::<String>()
            .prop_map(|text| [&u32::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat())
            .boxed(),
        _ => vec(any::<u8>(), datatype.size().unwrap()).boxed(),
    };
    vec(element, count).prop_map(|elements| elements.concat()).boxed()
}

pub(crate) fn tensor(json_only: bool) -> impl Strategy<Value = (DataType, Vec<i64>, Vec<u8>)> {
    let datatypes: Vec<DataType> =
        ALL.into_iter().filter(|datatype| !json_only || datatype.has_json_form()).collect();
    (proptest::sample::select(datatypes), vec(0i64..4, 0..4)).prop_flat_map(|(datatype, shape)| {
        let count = usize::try_from(shape.iter().product::<i64>()).unwrap();
        (Just(datatype), Just(shape), raw_values(datatype, count))
    })
}

fn parameters() -> impl Strategy<Value = Parameters> {
    let finite = any::<f64>().prop_filter("JSON parameters are finite here", |value| value.is_finite());
    let choice = prop_oneof![
        any::<bool>().prop_map(Choice::Bool),
        any::<i64>().prop_map(Choice::Int64),
        (0x8000_0000_0000_0000..=u64::MAX).prop_map(Choice::Uint64),
        finite.prop_map(Choice::Double),
        any::<String>().prop_map(Choice::String),
    ];
    btree_map("p[a-z\u{e9}]{0,6}", choice.prop_map(|choice| InferParameter { choice: Some(choice) }), 0..3)
}

pub(crate) fn case(json_only: bool) -> impl Strategy<Value = Case> {
    let inputs = btree_map("[a-z\u{e9}\"]{1,8}", (tensor(json_only), parameters()), 0..4);
    let outputs = btree_map("[a-z\u{e9}\"]{1,8}", parameters(), 0..3);
    let names = btree_set("[A-Za-z0-9_.-]{1,12}", 4).prop_map(|names| names.into_iter().collect::<Vec<_>>());
    let parts = (names.prop_shuffle(), any::<bool>(), parameters(), inputs, outputs);
    parts.prop_map(|(names, has_tenant, parameters, inputs, outputs)| {
        let [service, tenant, model_name, model_version] = <[String; 4]>::try_from(names).unwrap();
        let mut request =
            ModelInferRequest { model_name, model_version, parameters, ..ModelInferRequest::default() };
        for (name, ((datatype, shape, raw), parameters)) in inputs {
            let datatype = datatype.as_str().to_owned();
            request.inputs.push(InferInputTensor { name, datatype, shape, parameters, contents: None });
            request.raw_input_contents.push(Bytes::from(raw));
        }
        request.outputs = outputs
            .into_iter()
            .map(|(name, parameters)| InferRequestedOutputTensor { name, parameters })
            .collect();
        Case { service, tenant: has_tenant.then_some(tenant), request }
    })
}
