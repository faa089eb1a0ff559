#include "run.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

namespace infer {

std::string unable(const Model&) { return {}; }

CUresult Run::read_inputs() {
  values.clear();
  for (size_t index = 0; index < inputs.size(); ++index) {
    const auto type = model->tensors[model->inputs[index]].type;
    Array array{type, inputs[index], Bytes(shape_bytes(inputs[index], type))};
    if (const auto taken = shape_values.find(model->inputs[index]); taken != shape_values.end()) {
      std::memcpy(array.bytes.data(), taken->second.data(), array.bytes.size());
      values.push_back(std::move(array));
      continue;
    }
    const auto source = kernel::access(input_addresses[index], array.bytes.size(), device);
    if (!source) return CUDA_ERROR_ILLEGAL_ADDRESS;
    std::memcpy(array.bytes.data(), source.get(), array.bytes.size());
    values.push_back(std::move(array));
  }
  // The scratch memory carries this run's name; another run in the same memory would overwrite it.
  const auto target = kernel::access(scratch, scratch_bytes, device);
  if (!target) return CUDA_ERROR_ILLEGAL_ADDRESS;
  const auto* const self = this;
  std::memcpy(target.get(), &self, sizeof self);
  return CUDA_SUCCESS;
}

CUresult Run::compute_outputs() {
  const auto target = kernel::access(scratch, scratch_bytes, device);
  if (!target) return CUDA_ERROR_ILLEGAL_ADDRESS;
  const Run* owner = nullptr;
  std::memcpy(&owner, target.get(), sizeof owner);
  if (owner != this) {
    std::fputs("forebay double: two runs used the same scratch memory at once\n", stderr);
    return CUDA_ERROR_LAUNCH_FAILED;
  }
  values = compute(*model, std::move(values));
  for (size_t index = 0; index < output_addresses.size(); ++index) {
    if (output_addresses[index] == 0) continue;
    if (const auto error = write_output(index)) return error;
  }
  return CUDA_SUCCESS;
}

CUresult Run::write_output(size_t index) const {
  const auto& array = values[index];
  if (array.bytes.empty()) return CUDA_SUCCESS;
  const auto target = kernel::access(output_addresses[index], array.bytes.size(), device);
  if (!target) return CUDA_ERROR_ILLEGAL_ADDRESS;
  std::memcpy(target.get(), array.bytes.data(), array.bytes.size());
  // A graph of a context that has other shapes since: nobody knows what the real one would compute.
  if (captured_at && *captured_at != *reshaped) {
    std::transform(target.get(), target.get() + array.bytes.size(), target.get(),
                   [](std::byte byte) { return ~byte; });
  }
  return CUDA_SUCCESS;
}

}  // namespace infer
