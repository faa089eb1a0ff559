// An ONNX file becomes a model: the operations that the double has, constants from initializers, inputs and
// outputs with symbolic dimensions as unknown ones.
#pragma once

#include "model.h"
#include "protobuf.h"

namespace parser {

// A node that the double can't run.
struct Unsupported : std::runtime_error {
  Unsupported(const std::string& text, int index, std::string type, std::string node)
      : std::runtime_error(text), node_index(index), node_type(std::move(type)), node_name(std::move(node)) {}

  int node_index;
  std::string node_type;
  std::string node_name;
};

bool supports(const std::string& operation);

// Throws Malformed or Unsupported.
infer::Model read_model(const void* data, size_t bytes);

}  // namespace parser
