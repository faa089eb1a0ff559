// Questions about a model, and its shapes.
#include "model.h"

#include <algorithm>
#include <cstring>

namespace infer {

using nvinfer1::DataType;

namespace {

using Result = std::variant<Shape, std::string>;

// One dimension of two that are spread over each other as numpy does; none if they don't fit.
bool broadcast(int64_t left, int64_t right, int64_t& dim) {
  if (left == 1 || left == right) {
    dim = right;
  } else if (right == 1) {
    dim = left;
  } else if (left == -1 || right == -1) {
    dim = std::max(left, right);
  } else {
    return false;
  }
  return true;
}

Result elementwise_shape(Shape left, Shape right) {
  if (left.size() < right.size()) std::swap(left, right);
  const auto offset = left.size() - right.size();
  Shape shape = left;
  for (size_t axis = 0; axis < right.size(); ++axis) {
    if (!broadcast(left[offset + axis], right[axis], shape[offset + axis])) {
      return "dimensions " + to_text(left) + " and " + to_text(right) + " don't fit";
    }
  }
  return shape;
}

Result matrix_shape(const Shape& left, const Shape& right) {
  const bool known = left.size() >= 2 && right.size() == 2;
  if (!known || (left.back() != -1 && right[0] != -1 && left.back() != right[0])) {
    return "can't multiply " + to_text(left) + " by " + to_text(right);
  }
  Shape shape = left;
  shape.back() = right[1];
  return shape;
}

}  // namespace

const Tensor* Model::io(const std::string& wanted) const {
  for (const auto* list : {&inputs, &outputs}) {
    for (const auto index : *list) {
      if (tensors[index].name == wanted) return &tensors[index];
    }
  }
  return nullptr;
}

bool Model::is_input(const std::string& wanted) const {
  return std::any_of(inputs.begin(), inputs.end(),
                     [&](uint32_t index) { return tensors[index].name == wanted; });
}

bool Model::is_shape(uint32_t tensor) const {
  return !tensors[tensor].constant && std::any_of(nodes.begin(), nodes.end(), [&](const Node& node) {
    return node.operation == Operation::expand && node.inputs[1] == tensor;
  });
}

bool Model::is_shape(const std::string& wanted) const {
  return std::any_of(inputs.begin(), inputs.end(),
                     [&](uint32_t index) { return tensors[index].name == wanted && is_shape(index); });
}

bool Model::uses(DataType type) const {
  return std::any_of(tensors.begin(), tensors.end(),
                     [&](const Tensor& tensor) { return tensor.type == type; });
}

int64_t Model::weight_bytes() const {
  int64_t bytes = 0;
  for (const auto& tensor : tensors) bytes += static_cast<int64_t>(tensor.values.size());
  return bytes;
}

size_t element_bytes(DataType type) {
  switch (type) {
    case DataType::kINT64:
      return 8;
    case DataType::kFLOAT:
    case DataType::kINT32:
      return 4;
    case DataType::kHALF:
    case DataType::kBF16:
      return 2;
    default:
      return 1;
  }
}

int64_t elements(const Shape& shape) {
  int64_t product = 1;
  for (const auto dim : shape) product *= std::max<int64_t>(dim, 0);
  return product;
}

size_t shape_bytes(const Shape& shape, DataType type) {
  return static_cast<size_t>(elements(shape)) * element_bytes(type);
}

Shape to_shape(const nvinfer1::Dims& dims) { return {dims.d, dims.d + std::max(dims.nbDims, 0)}; }

nvinfer1::Dims to_dims(const Shape& shape) {
  nvinfer1::Dims dims{static_cast<int32_t>(shape.size()), {}};
  std::copy(shape.begin(), shape.end(), dims.d);
  return dims;
}

std::string to_text(const Shape& shape) {
  std::string text = "[";
  for (const auto dim : shape) text += (text.size() > 1 ? "," : "") + std::to_string(dim);
  return text + "]";
}

std::variant<Shape, std::string> operation_shape(Operation operation, const std::vector<Shape>& inputs) {
  switch (operation) {
    case Operation::identity:
    case Operation::relu:
    case Operation::cast:
      return inputs[0];
    case Operation::add:
    case Operation::multiply:
    case Operation::expand:
      return elementwise_shape(inputs[0], inputs[1]);
    case Operation::quantize:
    case Operation::dequantize: {
      // Scales spread along the last axis, or are one.
      auto shape = elementwise_shape(inputs[0], inputs[1]);
      if (const auto* spread = std::get_if<Shape>(&shape); spread != nullptr && *spread != inputs[0]) {
        return "scales " + to_text(inputs[1]) + " don't fit " + to_text(inputs[0]);
      }
      return shape;
    }
    case Operation::matrix_multiply:
      return matrix_shape(inputs[0], inputs[1]);
    case Operation::non_zero:
      return Shape{static_cast<int64_t>(inputs[0].size()), -1};
  }
  return "unknown operation";
}

Shape to_values(const void* data, size_t count) {
  Shape values(count);
  std::memcpy(values.data(), data, count * sizeof(int64_t));
  return values;
}

std::variant<std::vector<Shape>, std::string> infer_shapes(const Model& model,
                                                           const std::vector<Shape>& inputs,
                                                           const Values& values) {
  std::vector<Shape> shapes;
  for (const auto& tensor : model.tensors) shapes.push_back(tensor.dims);
  for (size_t index = 0; index < inputs.size(); ++index) shapes[model.inputs[index]] = inputs[index];
  for (const auto& node : model.nodes) {
    std::vector<Shape> operands;
    for (const auto input : node.inputs) operands.push_back(shapes[input]);
    if (node.operation == Operation::expand) {
      const auto& target = model.tensors[node.inputs[1]];
      const auto count = static_cast<size_t>(target.dims[0]);
      const auto known = values.find(node.inputs[1]);
      operands[1] = target.constant         ? to_values(target.values.data(), count)
                    : known == values.end() ? Shape(count, -1)
                                            : known->second;
    }
    auto shape = operation_shape(node.operation, operands);
    if (const auto* reason = std::get_if<std::string>(&shape)) return node.name + ": " + *reason;
    shapes[node.output] = std::get<Shape>(std::move(shape));
  }
  return shapes;
}

}  // namespace infer
