// One inference as stream work: addresses and shapes enter when it is queued, device memory is read and
// written when its turn comes. What was freed or is too small by then is found there, by the same checks as a
// copy's.
#pragma once

#include <atomic>
#include <memory>
#include <optional>

#include "kernel.h"
#include "model.h"

namespace infer {

// Why runs can't compute the model, empty if they can.
std::string unable(const Model& model);

struct Run {
  std::shared_ptr<const Model> model;
  CUdevice device = 0;
  std::vector<Shape> inputs;
  std::vector<CUdeviceptr> input_addresses;
  Values shape_values;  // taken when the run was queued
  std::vector<CUdeviceptr> output_addresses;  // 0: known only after the computation
  CUstream stream = nullptr;
  CUdeviceptr weights = 0;
  void* code = nullptr;  // see kernel::code
  CUdeviceptr scratch = 0;
  size_t scratch_bytes = 0;
  // How often the context took other shapes, and, of a run in a graph, how often it had when that was
  // captured: what the context changed for others is wrong for this.
  std::shared_ptr<const std::atomic<uint64_t>> reshaped;
  std::optional<uint64_t> captured_at;

  std::vector<Array> values;  // the inputs, then the outputs

  // Takes the inputs; after it they may be written again.
  CUresult read_inputs();

  // Computes, and writes the outputs that have addresses.
  CUresult compute_outputs();

  // Writes one output.
  CUresult write_output(size_t index) const;
};

}  // namespace infer
