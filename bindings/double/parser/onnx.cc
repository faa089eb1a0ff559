// Field numbers are those of onnx.proto: ModelProto, GraphProto, NodeProto, TensorProto, ValueInfoProto.
#include "onnx.h"

#include <algorithm>
#include <map>
#include <optional>

namespace parser {
namespace {

using infer::Model;
using infer::Operation;
using infer::Shape;
using infer::Tensor;
using nvinfer1::DataType;

// onnx.TensorProto.DataType to TensorRT's.
DataType to_type(uint64_t type) {
  switch (type) {
    case 1:
      return DataType::kFLOAT;
    case 2:
      return DataType::kUINT8;
    case 3:
      return DataType::kINT8;
    case 6:
      return DataType::kINT32;
    case 7:
      return DataType::kINT64;
    case 9:
      return DataType::kBOOL;
    case 10:
      return DataType::kHALF;
    case 16:
      return DataType::kBF16;
    case 17:
      return DataType::kFP8;
    default:
      throw Malformed("it has a tensor of ONNX element type " + std::to_string(type) +
                      ", which the double doesn't have");
  }
}

void append(infer::Bytes& bytes, const void* data, size_t size) {
  const auto* const first = static_cast<const std::byte*>(data);
  bytes.insert(bytes.end(), first, first + size);
}

// A field of numbers: packed, or one of several.
std::vector<uint64_t> numbers(const Field& field) {
  if (field.span.data == nullptr) return {field.value};
  std::vector<uint64_t> values;
  Message packed(field.span);
  for (uint64_t value = 0; packed.next_packed(value);) values.push_back(value);
  return values;
}

Tensor read_initializer(Span span) {
  Tensor tensor;
  tensor.constant = true;
  Message message(span);
  std::vector<uint64_t> values;
  for (Field field; message.next(field);) {
    switch (field.number) {
      case 1:  // dims
        for (const auto dim : numbers(field)) tensor.dims.push_back(static_cast<int64_t>(dim));
        break;
      case 2:  // data_type
        tensor.type = to_type(field.value);
        break;
      case 4:  // float_data
      case 9:  // raw_data
        append(tensor.values, field.span.data, field.span.bytes);
        break;
      case 5:  // int32_data
      case 7:  // int64_data
        for (const auto value : numbers(field)) values.push_back(value);
        break;
      case 8:
        tensor.name = field.span.text();
        break;
      case 13:  // external_data
        throw Malformed("constant " + tensor.name + " lies in another file");
      default:
        break;
    }
  }
  for (const auto value : values) append(tensor.values, &value, infer::element_bytes(tensor.type));
  if (tensor.values.size() != infer::shape_bytes(tensor.dims, tensor.type)) {
    throw Malformed("constant " + tensor.name + " has more or fewer values than its dimensions say");
  }
  return tensor;
}

// TypeProto.Tensor.shape.dim: a number, or a name that the run gives a value.
int64_t read_dim(Span span) {
  Message message(span);
  int64_t dim = -1;
  for (Field field; message.next(field);) {
    if (field.number == 1) dim = static_cast<int64_t>(field.value);
  }
  return dim;
}

// The one field of that number, which must be there.
Span only(Span span, uint32_t number) {
  Message message(span);
  for (Field field; message.next(field);) {
    if (field.number == number) return field.span;
  }
  throw Malformed("an input or output has no type with a shape");
}

Tensor read_value(Span span) {
  Tensor tensor;
  tensor.name = only(span, 1).text();
  Message type(only(only(span, 2), 1));
  for (Field field; type.next(field);) {
    if (field.number == 1) tensor.type = to_type(field.value);
    if (field.number != 2) continue;
    Message shape(field.span);
    for (Field dim; shape.next(dim);) tensor.dims.push_back(read_dim(dim.span));
  }
  if (tensor.dims.size() > nvinfer1::Dims::MAX_DIMS)
    throw Malformed(tensor.name + " has more than 8 dimensions");
  return tensor;
}

struct OnnxNode {
  std::string name;
  std::string type;
  std::vector<std::string> inputs;
  std::vector<std::string> outputs;
  uint64_t to = 0;   // the element type that a cast names
  int64_t axis = 1;  // along which scales lie
};

// AttributeProto: its name, and its number if it is one.
void read_attribute(Span span, OnnxNode& node) {
  Message message(span);
  std::string name;
  uint64_t number = 0;
  for (Field field; message.next(field);) {
    if (field.number == 1) name = field.span.text();
    if (field.number == 3) number = field.value;
  }
  if (name == "to") node.to = number;
  if (name == "axis") node.axis = static_cast<int64_t>(number);
}

OnnxNode read_node(Span span) {
  OnnxNode node;
  Message message(span);
  for (Field field; message.next(field);) {
    if (field.number == 1) node.inputs.push_back(field.span.text());
    if (field.number == 2) node.outputs.push_back(field.span.text());
    if (field.number == 3) node.name = field.span.text();
    if (field.number == 4) node.type = field.span.text();
    if (field.number == 5) read_attribute(field.span, node);
  }
  return node;
}

std::optional<Operation> find_operation(const std::string& type) {
  const auto& names = infer::OPERATION_NAMES;
  const auto found = std::find(names.begin(), names.end(), type);
  if (found == names.end()) return std::nullopt;
  return static_cast<Operation>(found - names.begin());
}

bool is_float(DataType type) {
  return type == DataType::kFLOAT || type == DataType::kHALF || type == DataType::kBF16;
}

bool computes(Operation operation, DataType type) {
  switch (operation) {
    case Operation::identity:
    case Operation::expand:
    case Operation::cast:
      return true;
    case Operation::non_zero:
      return is_float(type) || type == DataType::kINT32 || type == DataType::kINT64 ||
             type == DataType::kBOOL || type == DataType::kUINT8;
    default:
      return is_float(type) || type == DataType::kINT32 || type == DataType::kINT64;
  }
}

bool scales(Operation operation) {
  return operation == Operation::quantize || operation == Operation::dequantize;
}

// How many inputs a node of that kind may have.
bool takes(Operation operation, size_t inputs) {
  switch (operation) {
    case Operation::add:
    case Operation::multiply:
    case Operation::matrix_multiply:
    case Operation::expand:
      return inputs == 2;
    case Operation::quantize:
    case Operation::dequantize:
      return inputs == 3;
    default:
      return inputs == 1;
  }
}

class GraphReader {
 public:
  Model read(Span graph) {
    std::vector<Span> nodes;
    std::vector<Span> inputs;
    std::vector<Span> outputs;
    Message message(graph);
    for (Field field; message.next(field);) {
      if (field.number == 1) nodes.push_back(field.span);
      if (field.number == 2) model_.name = field.span.text();
      if (field.number == 5) add(read_initializer(field.span));
      if (field.number == 11) inputs.push_back(field.span);
      if (field.number == 12) outputs.push_back(field.span);
    }
    for (const auto& input : inputs) {
      // Old files list constants as inputs, too.
      if (auto tensor = read_value(input); places_.count(tensor.name) == 0)
        model_.inputs.push_back(add(std::move(tensor)));
    }
    for (const auto& node : nodes) add_node(read_node(node));
    for (const auto& output : outputs) model_.outputs.push_back(place(read_value(output).name));
    return std::move(model_);
  }

 private:
  uint32_t add(Tensor tensor) {
    const auto place = static_cast<uint32_t>(model_.tensors.size());
    if (!places_.emplace(tensor.name, place).second)
      throw Malformed("tensor " + tensor.name + " is there twice");
    model_.tensors.push_back(std::move(tensor));
    return place;
  }

  uint32_t place(const std::string& name) const {
    const auto found = places_.find(name);
    if (found == places_.end()) throw Malformed("tensor " + name + " comes from nowhere");
    return found->second;
  }

  void add_node(const OnnxNode& onnx) {
    const auto index = static_cast<int>(model_.nodes.size());
    const auto refuse = [&](const std::string& text) {
      throw Unsupported(onnx.type + ": " + text, index, onnx.type, onnx.name);
    };
    const auto operation = find_operation(onnx.type);
    if (!operation) refuse("the double doesn't have this operation");
    if (!takes(*operation, onnx.inputs.size()) || onnx.outputs.size() != 1)
      refuse("a wrong number of inputs or outputs");
    infer::Node node;
    node.operation = *operation;
    node.name = onnx.name.empty() ? onnx.type + "_" + std::to_string(index) : onnx.name;
    for (const auto& input : onnx.inputs) node.inputs.push_back(place(input));
    if (const auto why = wrong_types(node, onnx); !why.empty()) refuse(why);
    std::vector<Shape> shapes;
    for (const auto input : node.inputs) shapes.push_back(model_.tensors[input].dims);
    if (*operation == Operation::expand) {
      const auto target = node.inputs[1];
      const auto& [name, type, dims, constant, values] = model_.tensors[target];
      const auto& inputs = model_.inputs;
      if (!constant && std::find(inputs.begin(), inputs.end(), target) == inputs.end())
        refuse("the double takes its shape from an input or a constant");
      if (type != DataType::kINT64 || dims.size() != 1 || dims[0] < 0)
        refuse("its shape must be a known number of integers of 64 bits");
      const auto count = static_cast<size_t>(dims[0]);
      shapes[1] = constant ? infer::to_values(values.data(), count) : Shape(count, -1);
    }
    const auto shape = infer::operation_shape(*operation, shapes);
    if (const auto* reason = std::get_if<std::string>(&shape)) refuse(*reason);
    Tensor result;
    result.name = onnx.outputs[0];
    result.type = result_type(node, onnx);
    result.dims = std::get<Shape>(shape);
    node.output = add(std::move(result));
    model_.nodes.push_back(std::move(node));
  }

  DataType type(const infer::Node& node, size_t input) const {
    return model_.tensors[node.inputs[input]].type;
  }

  DataType result_type(const infer::Node& node, const OnnxNode& onnx) const {
    switch (node.operation) {
      case Operation::non_zero:
        return DataType::kINT64;
      case Operation::cast:
        return to_type(onnx.to);
      case Operation::quantize:
        return type(node, 2);
      case Operation::dequantize:
        return type(node, 1);
      default:
        return type(node, 0);
    }
  }

  // What is wrong with the types of what the node takes, if anything is.
  std::string wrong_types(const infer::Node& node, const OnnxNode& onnx) const {
    if (scales(node.operation)) return wrong_scales(node, onnx);
    for (size_t input = 0; input < node.inputs.size(); ++input) {
      if (!computes(node.operation, type(node, input)))
        return "the double can't do it with this element type";
      if (node.operation != Operation::expand && type(node, input) != type(node, 0))
        return "its inputs have two element types";
    }
    return {};
  }

  // As TensorRT has it: zero points of zero, and signed elements alone.
  std::string wrong_scales(const infer::Node& node, const OnnxNode& onnx) const {
    const auto& zero = model_.tensors[node.inputs[2]];
    const bool quantizes = node.operation == Operation::quantize;
    const auto small = quantizes ? zero.type : type(node, 0);
    if (small != DataType::kINT8 && small != DataType::kFP8) return "Found unsupported input type: elements must be of INT8 or FP8";
    if (!quantizes && zero.type != small) return "its zero point has another type than its elements";
    if (!is_float(type(node, 1)) || (quantizes && type(node, 0) != type(node, 1)))
      return "its inputs have two element types";
    const auto nothing = [](std::byte value) { return value == std::byte{0}; };
    if (!zero.constant || !std::all_of(zero.values.begin(), zero.values.end(), nothing))
      return "Non-zero zero point is not supported";
    const auto& scale = model_.tensors[node.inputs[1]].dims;
    const auto rank = static_cast<int64_t>(model_.tensors[node.inputs[0]].dims.size());
    const bool last = onnx.axis == -1 || onnx.axis == rank - 1;
    if (!scale.empty() && infer::elements(scale) != 1 && !last)
      return "the double's scales lie along the last axis alone";
    return {};
  }

  Model model_;
  std::map<std::string, uint32_t> places_;
};

}  // namespace

bool supports(const std::string& operation) { return find_operation(operation).has_value(); }

Model read_model(const void* data, size_t bytes) {
  Message message({static_cast<const std::byte*>(data), bytes});
  std::optional<Model> model;
  for (Field field; message.next(field);) {
    if (field.number == 7 && field.span.data != nullptr) model = GraphReader().read(field.span);
  }
  if (!model) throw Malformed("it has no graph");
  return std::move(*model);
}

}  // namespace parser
