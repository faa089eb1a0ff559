// What a plan holds: tensors, constants, operations and profiles. The parser makes one of an ONNX file, the
// builder adds profiles and writes it as a plan, the runtime reads the plan back.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "NvInfer.h"

namespace infer {

using Shape = std::vector<int64_t>;  // -1: not known before the run
using Bytes = std::vector<std::byte>;

enum class Operation : uint8_t {
  identity,
  add,
  multiply,
  relu,
  matrix_multiply,
  non_zero,
  expand,
  cast,
  quantize,
  dequantize
};

constexpr std::array<const char*, 10> OPERATION_NAMES = {
    "Identity", "Add",    "Mul",  "Relu",           "MatMul",
    "NonZero",  "Expand", "Cast", "QuantizeLinear", "DequantizeLinear"};

struct Tensor {
  std::string name;
  nvinfer1::DataType type = nvinfer1::DataType::kFLOAT;
  Shape dims;
  bool constant = false;
  Bytes values;  // of a constant
};

struct Node {
  Operation operation = Operation::identity;
  std::string name;
  std::vector<uint32_t> inputs;  // indices of tensors
  uint32_t output = 0;
};

// The range of one input in one profile: min, opt, max, as nvinfer1::OptProfileSelector counts. Dimensions,
// or the values of an input that decides shapes, whose own dimension is fixed.
using Range = std::array<Shape, 3>;
using Profile = std::map<std::string, Range>;

struct Model {
  std::string name;
  std::vector<Tensor> tensors;
  std::vector<uint32_t> inputs;
  std::vector<uint32_t> outputs;
  std::vector<Node> nodes;  // in the order in which they can run
  std::vector<Profile> profiles;
  uint32_t flags = 0;      // nvinfer1::BuilderFlags of the build
  int32_t capability = 0;  // of the device that it was built on, 86 for 8.6
  nvinfer1::HardwareCompatibilityLevel compatibility = nvinfer1::HardwareCompatibilityLevel::kNONE;

  bool has(nvinfer1::BuilderFlag flag) const { return ((flags >> static_cast<uint32_t>(flag)) & 1U) != 0; }

  // The input or output of that name, nullptr without.
  const Tensor* io(const std::string& wanted) const;
  bool is_input(const std::string& wanted) const;

  // Do the input's values decide shapes? They lie in host memory.
  bool is_shape(uint32_t tensor) const;
  bool is_shape(const std::string& wanted) const;

  // Does a tensor have elements of that type?
  bool uses(nvinfer1::DataType type) const;

  // Bytes of all constants.
  int64_t weight_bytes() const;
};

// Bytes of an element. The double has no types below a byte.
size_t element_bytes(nvinfer1::DataType type);

// Elements of a shape, 0 if one of its dimensions isn't known.
int64_t elements(const Shape& shape);

size_t shape_bytes(const Shape& shape, nvinfer1::DataType type);

Shape to_shape(const nvinfer1::Dims& dims);
nvinfer1::Dims to_dims(const Shape& shape);

// "[2,3]", as TensorRT's messages write dimensions.
std::string to_text(const Shape& shape);

// The shape that an operation gives, or why it can't. Of an expansion, the second is its operand's values.
std::variant<Shape, std::string> operation_shape(Operation operation, const std::vector<Shape>& inputs);

// What is known of the values that decide shapes, by their input's tensor.
using Values = std::map<uint32_t, Shape>;

// The shapes of all tensors, given the inputs' in their order, or what is wrong with them. A dimension that
// only the run will know is -1, as is one that follows from it or from values that aren't known.
std::variant<std::vector<Shape>, std::string> infer_shapes(const Model& model,
                                                           const std::vector<Shape>& inputs,
                                                           const Values& values = {});

// Numbers of 64 bits.
Shape to_values(const void* data, size_t count);

// A value during a run.
struct Array {
  nvinfer1::DataType type = nvinfer1::DataType::kFLOAT;
  Shape dims;
  Bytes bytes;
};

// Runs the operations. `inputs` in the model's order; the outputs leave in the model's order.
std::vector<Array> compute(const Model& model, std::vector<Array> inputs);

}  // namespace infer
