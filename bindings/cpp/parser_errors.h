// What the ONNX parser says of a model.
#pragma once

#include <string>

#include "NvOnnxParser.h"
#include "call.h"

namespace forebay::FOREBAY_FLAVOUR {

// Says a parser's errors, each with the node that it is about, in place of the many lines that it logged of
// them. What other parts of it logged tells the cause and stays.
template <typename Parser>
void say_errors(Call& call, const Parser& parser) {
  if (parser.getNbErrors() > 0) {
    call.forget("ModelImporter.cpp:");
  }
  for (std::int32_t index = 0; index < parser.getNbErrors(); ++index) {
    const nvonnxparser::IParserError& error = *call.object(parser.getError(index));
    std::string said;
    if (error.node() >= 0) {
      said = "node " + std::to_string(error.node());
      for (const char* detail : {error.nodeName(), error.nodeOperator()}) {
        said += detail == nullptr || *detail == '\0' ? "" : std::string(" ") + detail;
      }
      said += ": ";
    }
    said += error.desc() == nullptr ? "" : error.desc();
    call.say(said.c_str());
  }
}

}  // namespace forebay::FOREBAY_FLAVOUR
