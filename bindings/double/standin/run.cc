// A run of the stand-in: the model's operations as kernels, one after another on the run's stream. Inputs are
// read where they are, so the whole run comes before the event for consumed inputs.
#include "run.h"

#include <algorithm>
#include <optional>

#include "code.h"
#include "control.h"
#include "kernels.h"

namespace infer {
namespace {

using kernels::Arguments;

constexpr unsigned THREADS = 256;  // of a block: what every GPU has

// Memory of every tensor of a run.
class Places {
 public:
  Places(const Run& run, const std::vector<Shape>& shapes) : places_(run.model->tensors.size()) {
    auto weights = run.weights;
    auto scratch = run.scratch;
    for (size_t index = 0; index < places_.size(); ++index) {
      const auto& tensor = run.model->tensors[index];
      if (!tensor.constant) continue;
      places_[index] = weights;
      weights += tensor.values.size();
    }
    for (size_t index = 0; index < run.inputs.size(); ++index)
      places_[run.model->inputs[index]] = run.input_addresses[index];
    for (size_t index = 0; index < run.output_addresses.size(); ++index)
      places_[run.model->outputs[index]] = run.output_addresses[index];
    for (const auto& node : run.model->nodes) {
      auto& place = places_[node.output];
      if (place != 0) continue;
      place = scratch;
      scratch += (shape_bytes(shapes[node.output], run.model->tensors[node.output].type) + 255) / 256 * 256;
    }
  }

  CUdeviceptr operator[](uint32_t tensor) const { return places_[tensor]; }

 private:
  std::vector<CUdeviceptr> places_;
};

// How far apart the elements of an operand are along each axis of the result.
void spread(const Shape& result, const Shape& operand, uint64_t* strides) {
  uint64_t stride = 1;
  const auto extra = result.size() - operand.size();
  for (size_t axis = result.size(); axis-- > 0;) {
    const auto own = axis < extra ? 1 : static_cast<uint64_t>(operand[axis - extra]);
    strides[axis] = own == 1 ? 0 : stride;
    stride *= own;
  }
}

Arguments arguments(const Node& node, const Places& places, const std::vector<Shape>& shapes) {
  Arguments all{};
  const auto& result = shapes[node.output];
  const auto& left = shapes[node.inputs.front()];
  const auto& right = shapes[node.inputs.back()];
  all.left = reinterpret_cast<const float*>(places[node.inputs.front()]);
  all.right = reinterpret_cast<const float*>(places[node.inputs.back()]);
  all.result = reinterpret_cast<float*>(places[node.output]);
  all.left_bytes = shape_bytes(left, nvinfer1::DataType::kFLOAT);
  all.right_bytes = shape_bytes(right, nvinfer1::DataType::kFLOAT);
  all.count = static_cast<uint64_t>(elements(result));
  if (node.operation == Operation::matrix_multiply) {
    all.inner = static_cast<uint64_t>(right[0]);
    all.columns = static_cast<uint64_t>(right[1]);
    return all;
  }
  all.rank = static_cast<uint32_t>(result.size());
  std::transform(result.begin(), result.end(), all.dims,
                 [](int64_t dim) { return static_cast<uint64_t>(dim); });
  spread(result, left, all.left_strides);
  spread(result, right, all.right_strides);
  return all;
}

std::optional<standin::Kernel> kernel_of(Operation operation) {
  switch (operation) {
    case Operation::add:
      return standin::add;
    case Operation::multiply:
      return standin::multiply;
    case Operation::relu:
      return standin::relu;
    case Operation::matrix_multiply:
      return standin::matrix_multiply;
    default:
      return std::nullopt;
  }
}

// A rule for "fault" has the kernel that faults in place of the node's.
CUresult launch(const Run& run, standin::Kernel kernel, Arguments all) {
  const auto& code = *static_cast<const standin::Code*>(run.code);
  if (code.error != CUDA_SUCCESS) return code.error;
  if (control::enter("fault") != 0) kernel = standin::fault;
  void* parameters[] = {&all};
  const auto blocks = static_cast<unsigned>((all.count + THREADS - 1) / THREADS);
  return cuLaunchKernel(code.functions[kernel], blocks, 1, 1, THREADS, 1, 1, 0, run.stream, parameters,
                        nullptr);
}

}  // namespace

std::string unable(const Model& model) {
  for (const auto& node : model.nodes) {
    const bool floats = model.tensors[node.output].type == nvinfer1::DataType::kFLOAT;
    if (node.operation == Operation::identity || (floats && kernel_of(node.operation))) continue;
    return node.name + ": the stand-in doesn't have this operation of this type";
  }
  return {};
}

CUresult Run::read_inputs() {
  const auto inferred = infer_shapes(*model, inputs);
  if (std::holds_alternative<std::string>(inferred)) return CUDA_ERROR_NOT_SUPPORTED;
  const auto& shapes = std::get<std::vector<Shape>>(inferred);
  const Places places(*this, shapes);
  for (const auto& node : model->nodes) {
    const auto bytes = shape_bytes(shapes[node.output], model->tensors[node.output].type);
    if (bytes == 0) continue;
    // Without a kernel it is a copy: what else has none is refused as it is built.
    const auto kernel = kernel_of(node.operation);
    const auto error = kernel
                           ? launch(*this, *kernel, arguments(node, places, shapes))
                           : cuMemcpyDtoDAsync_v2(places[node.output], places[node.inputs[0]], bytes, stream);
    if (error != CUDA_SUCCESS) return error;
  }
  return CUDA_SUCCESS;
}

CUresult Run::compute_outputs() { return CUDA_SUCCESS; }

CUresult Run::write_output(size_t) const { return CUDA_ERROR_NOT_SUPPORTED; }

}  // namespace infer
