// Runs of a context. The inputs are taken by one piece of stream work and the outputs written by the next, so
// that the event for consumed inputs comes between them. For an output whose shape only the run knows, the
// call waits for the computation, asks for memory, and queues one more piece.
#include <algorithm>

#include "context.h"

namespace infer {

using namespace nvinfer1;

namespace {

constexpr auto* WHERE = "IExecutionContext::enqueueV3";

bool known(const Shape& shape) { return std::find(shape.begin(), shape.end(), -1) == shape.end(); }

}  // namespace

bool Context::executeV2(void* const* bindings) noexcept {
  const auto inputs = model_->inputs.size();
  for (size_t index = 0; index < inputs + model_->outputs.size(); ++index) {
    const auto address = reinterpret_cast<CUdeviceptr>(bindings[index]);
    (index < inputs ? addresses_[index] : outputs_[index - inputs].address) = address;
  }
  return enqueueV3(nullptr) && cuStreamSynchronize(nullptr) == CUDA_SUCCESS;
}

bool Context::enqueueV3(cudaStream_t stream) noexcept {
  Inside inside(busy_);
  if (refuses(WHERE)) return false;
  const auto device = kernel::device_of(stream);
  if (device != engine_.device()) {
    return fail(WHERE, ErrorCode::kFAILED_EXECUTION,
                "the stream isn't one of the engine's device, or its CUDA context can't be used");
  }
  if (!take_values(WHERE)) return false;
  const auto inferred = infer_shapes(*model_, inputs_, values_);
  if (const auto* reason = std::get_if<std::string>(&inferred)) {
    return fail(WHERE, ErrorCode::kINVALID_STATE, *reason);
  }
  const auto& all = std::get<std::vector<Shape>>(inferred);
  auto run = std::make_shared<Run>();
  run->stream = stream;
  if (!prepare(*run)) return false;
  for (size_t index = 0; index < outputs_.size(); ++index) {
    if (!choose_output(*run, index, all[model_->outputs[index]], stream)) return false;
  }
  run->reshaped = reshaped_;
  if (kernel::capturing(stream)) {
    run->captured_at = *reshaped_;
  } else {
    last_ = run;
  }
  return launch(run, stream);
}

bool Context::prepare(Run& run) {
  for (size_t index = 0; index < inputs_.size(); ++index) {
    const auto& name = model_->tensors[model_->inputs[index]].name;
    if (!known(inputs_[index])) {
      return fail(WHERE, ErrorCode::kINVALID_STATE,
                  "Parameter check failed, condition: allInputDimensionsSpecified(). The shape of input " +
                      name + " is not set");
    }
    if (addresses_[index] == 0) {
      return fail(WHERE, ErrorCode::kINVALID_STATE,
                  "Parameter check failed, condition: inputAddress != nullptr. Address is not set for input "
                  "tensor " +
                      name + ". Call setInputTensorAddress or setTensorAddress before enqueue/execute.");
    }
  }
  run.model = engine_.model();
  run.device = engine_.device();
  run.weights = engine_.weights();
  run.code = engine_.code();
  run.inputs = inputs_;
  run.input_addresses = addresses_;
  run.shape_values = values_;
  run.output_addresses.resize(outputs_.size());
  run.scratch_bytes = static_cast<size_t>(engine_.scratch_bytes(inputs_, values_));
  run.scratch = scratch_ ? scratch_->address() : given_;
  const auto available =
      scratch_ ? scratch_->bytes() : static_cast<size_t>(std::max<int64_t>(given_bytes_, 0));
  if (run.scratch == 0 || available < run.scratch_bytes) {
    return fail(WHERE, ErrorCode::kINVALID_STATE,
                "the context has " + std::to_string(run.scratch == 0 ? 0 : available) +
                    " bytes of device memory for the current shapes, which need " +
                    std::to_string(run.scratch_bytes));
  }
  return true;
}

// Finds where the output goes, if that is known before the run.
bool Context::choose_output(Run& run, size_t index, const Shape& shape, CUstream stream) {
  const auto& tensor = model_->tensors[model_->outputs[index]];
  const auto& output = outputs_[index];
  if (output.allocator == nullptr && output.address == 0) {
    return fail(
        WHERE, ErrorCode::kINVALID_STATE,
        "Parameter check failed, condition: outputAddress || outputAllocator. Neither address or allocator "
        "is "
        "set for output tensor " +
            tensor.name +
            ". Call setOutputTensorAddress, setTensorAddress or setOutputAllocator before enqueue/execute.");
  }
  if (output.allocator == nullptr) {
    run.output_addresses[index] = output.address;
    return true;
  }
  if (!known(shape)) {
    if (!kernel::capturing(stream)) return true;
    return fail(WHERE, ErrorCode::kUNSUPPORTED_STATE,
                "the shape of output " + tensor.name + " depends on data: it can't be captured");
  }
  auto* const current = reinterpret_cast<void*>(output.address);
  const auto bytes = std::max<size_t>(shape_bytes(shape, tensor.type), 1);
  auto* const memory =
      output.allocator->reallocateOutputAsync(tensor.name.c_str(), current, bytes, 256, stream);
  if (memory == nullptr)
    return fail(WHERE, ErrorCode::kFAILED_ALLOCATION, "no memory for output " + tensor.name);
  run.output_addresses[index] = reinterpret_cast<CUdeviceptr>(memory);
  output.allocator->notifyShape(tensor.name.c_str(), to_dims(shape));
  return true;
}

bool Context::launch(const std::shared_ptr<Run>& run, CUstream stream) {
  const auto read = [run] { return run->read_inputs(); };
  const bool waits = std::count(run->output_addresses.begin(), run->output_addresses.end(), 0) > 0;
  auto error = kernel::launch(stream, "enqueueV3.inputs", read);
  if (error == CUDA_SUCCESS && consumed_ != nullptr) error = kernel::record(consumed_, stream);
  // A promise dies unkept with work that is passed over after an error, which ends the wait.
  std::future<void> done;
  std::shared_ptr<std::promise<void>> computed;
  if (waits) {
    computed = std::make_shared<std::promise<void>>();
    done = computed->get_future();
  }
  if (error == CUDA_SUCCESS) {
    error = kernel::launch(stream, "enqueueV3", [run, computed = std::move(computed)] {
      const auto failed = run->compute_outputs();
      if (failed == CUDA_SUCCESS && computed) computed->set_value();
      return failed;
    });
  }
  if (error != CUDA_SUCCESS) {
    return fail(WHERE, ErrorCode::kFAILED_EXECUTION, "Cuda error " + std::to_string(error) + " in launch");
  }
  return !waits || finish_outputs(run, done, stream);
}

// Waits for the shapes of the run, takes memory for them, and has it written.
bool Context::finish_outputs(const std::shared_ptr<Run>& run, std::future<void>& computed, CUstream stream) {
  try {
    computed.get();
  } catch (const std::future_error&) {
    return fail(WHERE, ErrorCode::kFAILED_EXECUTION,
                "the run failed before the shapes of its outputs were known");
  }
  for (size_t index = 0; index < outputs_.size(); ++index) {
    if (run->output_addresses[index] != 0) continue;
    const auto& array = run->values[index];
    if (!choose_output(*run, index, array.dims, stream)) return false;
    const auto error =
        kernel::launch(stream, "enqueueV3.output", [run, index] { return run->write_output(index); });
    if (error != CUDA_SUCCESS)
      return fail(WHERE, ErrorCode::kFAILED_EXECUTION, "an output could not be written");
  }
  return true;
}

}  // namespace infer
