// The operations, in plain loops: slow, and right for shapes of tests.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>

#include "model.h"
#include "small_float.h"

namespace infer {
namespace {

using nvinfer1::DataType;

template <typename Element>
Element at(const Array& array, size_t index) {
  Element element;
  std::memcpy(&element, array.bytes.data() + index * sizeof element, sizeof element);
  return element;
}

template <typename Element>
void set(Array& array, size_t index, Element element) {
  std::memcpy(array.bytes.data() + index * sizeof element, &element, sizeof element);
}

Array make(DataType type, Shape shape) {
  Bytes bytes(shape_bytes(shape, type));
  return {type, std::move(shape), std::move(bytes)};
}

size_t count(const Array& array) { return static_cast<size_t>(elements(array.dims)); }

// Calls `work` with a value of the array's element type; the parser lets no other type come here.
template <typename Work>
void with_element(DataType type, const Work& work) {
  switch (type) {
    case DataType::kFLOAT:
      return work(float{});
    case DataType::kINT32:
      return work(int32_t{});
    case DataType::kINT64:
      return work(int64_t{});
    case DataType::kHALF:
      return work(Half{});
    case DataType::kBF16:
      return work(Bf16{});
    case DataType::kFP8:
      return work(Fp8{});
    case DataType::kINT8:
      return work(int8_t{});
    default:
      return work(uint8_t{});
  }
}

// Where the element of a spread-out operand lies that belongs to element `index` of `shape`.
size_t spread_index(const Shape& shape, size_t index, const Shape& operand) {
  size_t offset = 0;
  size_t stride = 1;
  const auto extra = shape.size() - operand.size();
  for (size_t axis = shape.size(); axis-- > 0;) {
    const auto dim = static_cast<size_t>(shape[axis]);
    const auto place = index % dim;
    index /= dim;
    if (axis < extra) continue;
    const auto own = static_cast<size_t>(operand[axis - extra]);
    offset += own == 1 ? 0 : place * stride;
    stride *= own;
  }
  return offset;
}

Array elementwise(const Node& node, const Array& left, const Array& right, const Shape& shape) {
  auto result = make(left.type, shape);
  with_element(left.type, [&](auto zero) {
    using Element = decltype(zero);
    for (size_t index = 0; index < count(result); ++index) {
      const auto a = at<Element>(left, spread_index(shape, index, left.dims));
      const auto b = at<Element>(right, spread_index(shape, index, right.dims));
      set(result, index, static_cast<Element>(node.operation == Operation::add ? a + b : a * b));
    }
  });
  return result;
}

// The nearest element to a number: integers are rounded to even and end at their limits.
template <typename Element>
Element nearest(float value) {
  if constexpr (std::is_integral_v<Element>) {
    using Limits = std::numeric_limits<Element>;
    const auto rounded = std::nearbyint(static_cast<double>(value));
    return static_cast<Element>(
        std::clamp(rounded, static_cast<double>(Limits::lowest()), static_cast<double>(Limits::max())));
  } else {
    return static_cast<Element>(value);
  }
}

// Each element as one of that type, after `change` of the number and its index.
template <typename Change>
Array converted(const Array& input, DataType type, const Change& change) {
  auto result = make(type, input.dims);
  with_element(input.type, [&](auto from) {
    with_element(type, [&](auto to) {
      for (size_t index = 0; index < count(input); ++index) {
        const auto number = static_cast<float>(at<decltype(from)>(input, index));
        set(result, index, nearest<decltype(to)>(change(number, index)));
      }
    });
  });
  return result;
}

// By the scale of the element: divided to be quantized, multiplied to be as before. Zero points are zero.
Array scaled(const Node& node, const Array& input, const Array& scale, DataType type) {
  float by = 1;
  return converted(input, type, [&](float number, size_t index) {
    with_element(scale.type, [&](auto zero) {
      by = static_cast<float>(at<decltype(zero)>(scale, spread_index(input.dims, index, scale.dims)));
    });
    return node.operation == Operation::quantize ? number / by : number * by;
  });
}

Array relu(const Array& input) {
  auto result = make(input.type, input.dims);
  with_element(input.type, [&](auto zero) {
    for (size_t index = 0; index < count(input); ++index) {
      set(result, index, std::max(at<decltype(zero)>(input, index), zero));
    }
  });
  return result;
}

Array matrix_multiply(const Array& left, const Array& right, const Shape& shape) {
  auto result = make(left.type, shape);
  const auto inner = static_cast<size_t>(right.dims[0]);
  const auto columns = static_cast<size_t>(right.dims[1]);
  with_element(left.type, [&](auto zero) {
    using Element = decltype(zero);
    for (size_t index = 0; index < count(result); ++index) {
      const auto row = index / columns;
      Element sum = zero;
      for (size_t step = 0; step < inner; ++step) {
        const auto a = at<Element>(left, row * inner + step);
        const auto b = at<Element>(right, step * columns + index % columns);
        sum = static_cast<Element>(sum + a * b);
      }
      set(result, index, sum);
    }
  });
  return result;
}

// Repeats elements along axes.
Array expand(const Array& input, const Array& target) {
  const auto wanted = to_values(target.bytes.data(), count(target));
  auto result = make(input.type, std::get<Shape>(operation_shape(Operation::expand, {input.dims, wanted})));
  const auto bytes = element_bytes(input.type);
  for (size_t index = 0; index < count(result); ++index) {
    const auto from = spread_index(result.dims, index, input.dims);
    std::memcpy(result.bytes.data() + index * bytes, input.bytes.data() + from * bytes, bytes);
  }
  return result;
}

// The indices of what isn't zero: one row a dimension, one column an element.
Array non_zero(const Array& input) {
  std::vector<size_t> found;
  with_element(input.type, [&](auto zero) {
    for (size_t index = 0; index < count(input); ++index) {
      if (at<decltype(zero)>(input, index) != zero) found.push_back(index);
    }
  });
  const auto rank = input.dims.size();
  auto result = make(DataType::kINT64, {static_cast<int64_t>(rank), static_cast<int64_t>(found.size())});
  for (size_t column = 0; column < found.size(); ++column) {
    auto rest = found[column];
    for (size_t axis = rank; axis-- > 0;) {
      const auto dim = static_cast<size_t>(input.dims[axis]);
      set(result, axis * found.size() + column, static_cast<int64_t>(rest % dim));
      rest /= dim;
    }
  }
  return result;
}

// The shape of an elementwise or matrix result. That it exists was checked before the run.
Shape result_shape(Operation operation, const Array& left, const Array& right) {
  return std::get<Shape>(operation_shape(operation, {left.dims, right.dims}));
}

}  // namespace

std::vector<Array> compute(const Model& model, std::vector<Array> inputs) {
  std::vector<Array> values;
  for (const auto& tensor : model.tensors) values.push_back({tensor.type, tensor.dims, tensor.values});
  for (size_t index = 0; index < inputs.size(); ++index)
    values[model.inputs[index]] = std::move(inputs[index]);
  for (const auto& node : model.nodes) {
    const auto& first = values[node.inputs[0]];
    auto& result = values[node.output];
    switch (node.operation) {
      case Operation::identity:
        result = first;
        break;
      case Operation::relu:
        result = relu(first);
        break;
      case Operation::add:
      case Operation::multiply: {
        const auto& second = values[node.inputs[1]];
        result = elementwise(node, first, second, result_shape(node.operation, first, second));
        break;
      }
      case Operation::matrix_multiply: {
        const auto& second = values[node.inputs[1]];
        result = matrix_multiply(first, second, result_shape(node.operation, first, second));
        break;
      }
      case Operation::non_zero:
        result = non_zero(first);
        break;
      case Operation::cast:
        result = converted(first, result.type, [](float number, size_t) { return number; });
        break;
      case Operation::quantize:
      case Operation::dequantize:
        result = scaled(node, first, values[node.inputs[1]], result.type);
        break;
      case Operation::expand:
        result = expand(first, values[node.inputs[1]]);
        break;
    }
  }
  std::vector<Array> outputs;
  for (const auto index : model.outputs) outputs.push_back(values[index]);
  return outputs;
}

}  // namespace infer
