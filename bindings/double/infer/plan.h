// The double's own plan format, in place of TensorRT's. All numbers are little-endian; a text or byte string
// is its length in 8 bytes and its bytes; a list is its length in 8 bytes and its items.
//
//   8 bytes  "FBDOUBLE"
//   4 bytes  version of this format: 1
//   4 bytes  version of TensorRT: 110400
//   4 bytes  compute capability of the device it was built on: 86
//   4 bytes  nvinfer1::HardwareCompatibilityLevel
//   4 bytes  nvinfer1::BuilderFlags
//   8 bytes  length of the rest
//   text     name
//   list     tensors: text name, 4 bytes nvinfer1::DataType, list of 8-byte dims, 1 byte "is a constant",
//   bytes values list     inputs, 4 bytes each: indices of tensors list     outputs, the same list
//   operations: 1 byte infer::Operation, text name, list of 4-byte inputs, 4 bytes output list     profiles:
//   list of (text input; three lists of 8-byte dims: min, opt, max)
#pragma once

#include <memory>
#include <variant>

#include "model.h"

namespace infer {

// Why a plan isn't taken: TensorRT's kind of error and its words.
struct Refusal {
  nvinfer1::ErrorCode code;
  std::string text;
};

Bytes write_plan(const Model& model);

// Reads a plan for a device of that capability.
std::variant<std::shared_ptr<Model>, Refusal> read_plan(const void* data, size_t bytes, int capability);

}  // namespace infer
