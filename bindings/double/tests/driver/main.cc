// Runs the scenario that the first argument names; the others are the ONNX files.
#include "test.h"

namespace {

std::string affine;
std::string non_zero;
std::string layer;

}  // namespace

const std::string& affine_model() { return affine; }
const std::string& non_zero_model() { return non_zero; }
const std::string& layer_model() { return layer; }

int main(int count, char** arguments) {
  CHECK(count == 5);
  affine = arguments[2];
  non_zero = arguments[3];
  layer = arguments[4];
  for (const auto& scenarios :
       {cuda_scenarios(), capture_scenarios(), engine_scenarios(), planted_scenarios()}) {
    const auto found = scenarios.find(arguments[1]);
    if (found == scenarios.end()) continue;
    found->second();
    return 0;
  }
  std::fprintf(stderr, "no scenario %s\n", arguments[1]);
  return 2;
}
