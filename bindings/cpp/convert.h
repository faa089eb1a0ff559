// TensorRT's shapes and names to ours and back.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>

#include "NvInfer.h"
#include "forebay-bindings/src/bridge.rs.h"

namespace forebay::FOREBAY_FLAVOUR {

// TensorRT says -1 dimensions of a tensor that it doesn't know.
inline Dims to_rust(const nvinfer1::Dims& dims) {
  if (dims.nbDims < 0 || dims.nbDims > nvinfer1::Dims::MAX_DIMS) {
    throw std::runtime_error("has no shape for the tensor");
  }
  Dims shape{static_cast<std::size_t>(dims.nbDims), {}};
  std::copy_n(dims.d, dims.nbDims, shape.dims.begin());
  return shape;
}

inline nvinfer1::Dims from_rust(rust::Slice<const std::int64_t> dims) {
  constexpr auto most = static_cast<std::size_t>(nvinfer1::Dims::MAX_DIMS);
  if (dims.size() > most) {
    throw std::runtime_error("takes 8 dimensions at most, not " + std::to_string(dims.size()));
  }
  nvinfer1::Dims shape{static_cast<std::int32_t>(dims.size()), {}};
  std::copy(dims.begin(), dims.end(), shape.d);
  return shape;
}

// Bits of an element.
inline std::size_t bits_of(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kINT64:
      return 64;
    case nvinfer1::DataType::kFLOAT:
    case nvinfer1::DataType::kINT32:
      return 32;
    case nvinfer1::DataType::kHALF:
    case nvinfer1::DataType::kBF16:
      return 16;
    case nvinfer1::DataType::kINT8:
    case nvinfer1::DataType::kBOOL:
    case nvinfer1::DataType::kUINT8:
    case nvinfer1::DataType::kFP8:
      return 8;
    case nvinfer1::DataType::kINT4:
    case nvinfer1::DataType::kFP4:
      return 4;
    default:
      // kE8M0, which the oldest headers don't name.
      if (static_cast<std::int32_t>(type) == 11) {
        return 8;
      }
  }
  throw std::runtime_error("uses an element type that these bindings don't know");
}

// Names out of a model needn't be UTF-8.
inline rust::String to_rust(const char* text) { return rust::String::lossy(text == nullptr ? "" : text); }

}  // namespace forebay::FOREBAY_FLAVOUR
