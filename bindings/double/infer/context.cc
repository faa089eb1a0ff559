// What a context is told: profile, shapes, addresses, memory. What it is asked to run is in enqueue.cc.
#include "context.h"

#include <algorithm>

namespace infer {

using namespace nvinfer1;

namespace {

CUdeviceptr to_address(const void* data) { return reinterpret_cast<CUdeviceptr>(data); }

}  // namespace

Context::Context(Engine& engine, ExecutionContextAllocationStrategy strategy)
    : engine_(engine),
      model_(engine.model()),
      voice_(engine.voice()),
      strategy_(strategy),
      addresses_(model_->inputs.size()),
      outputs_(model_->outputs.size()) {
  mImpl = this;
  engine_.context_made();
  reset_shapes();
  reserve_scratch();
}

Context::~Context() noexcept {
  // After an error of the device nothing queued is done any more.
  if (!last_.expired() && kernel::healthy(engine_.device())) {
    forbidden("an execution context was destroyed while its run was queued");
  }
  engine_.context_gone();
}

bool Context::fail(const char* where, ErrorCode code, const std::string& text) const {
  voice_.error(where, code, text);
  return false;
}

bool Context::refuses(const char* where) const {
  if (voice_.refuses(where)) return true;
  if (kernel::current_device() == engine_.device()) return false;
  fail(where, ErrorCode::kINVALID_STATE, "the thread's CUDA context is not of the engine's device, or can't be used");
  return true;
}

std::optional<size_t> Context::find(const std::vector<uint32_t>& list, const char* name) const {
  if (name == nullptr) return std::nullopt;
  for (size_t index = 0; index < list.size(); ++index) {
    if (model_->tensors[list[index]].name == name) return index;
  }
  return std::nullopt;
}

const Tensor* Context::find_io(const char* where, const char* name) const {
  const auto* const tensor = name == nullptr ? nullptr : model_->io(name);
  if (tensor == nullptr) {
    fail(where, ErrorCode::kINVALID_ARGUMENT,
         std::string("Given invalid tensor name: ") + (name == nullptr ? "nullptr" : name) +
             ". Get valid tensor names with getIOTensorName()");
  }
  return tensor;
}

void Context::reset_shapes() {
  inputs_.clear();
  for (const auto index : model_->inputs) inputs_.push_back(model_->tensors[index].dims);
}

// Takes the scratch memory that the strategy asks for.
void Context::reserve_scratch() {
  if (strategy_ == USER_MANAGED) return;
  const bool for_all = strategy_ == ExecutionContextAllocationStrategy::kSTATIC;
  const auto bytes = for_all ? engine_.getDeviceMemorySizeV2() : engine_.profile_scratch_bytes(profile_);
  scratch_.reset();
  scratch_ = std::make_unique<Scratch>(engine_.allocator(), static_cast<size_t>(std::max<int64_t>(bytes, 1)));
}

bool Context::setOptimizationProfileAsync(int32_t profile, cudaStream_t) noexcept {
  constexpr auto* where = "IExecutionContext::setOptimizationProfileAsync";
  Inside inside(busy_);
  if (refuses(where)) return false;
  if (profile < 0 || profile >= engine_.getNbOptimizationProfiles()) {
    return fail(where, ErrorCode::kINVALID_ARGUMENT,
                "Parameter check failed, condition: profileIndex >= 0 && profileIndex < nbProfiles. Given " +
                    std::to_string(profile) + ", the engine has " +
                    std::to_string(engine_.getNbOptimizationProfiles()));
  }
  if (profile == profile_) return true;
  profile_ = profile;
  ++*reshaped_;
  reset_shapes();
  if (strategy_ == ExecutionContextAllocationStrategy::kON_PROFILE_CHANGE) reserve_scratch();
  return has_scratch() || fail(where, ErrorCode::kFAILED_ALLOCATION, "no memory for the profile");
}

bool Context::setInputShape(const char* name, const Dims& dims) noexcept {
  constexpr auto* where = "IExecutionContext::setInputShape";
  Inside inside(busy_);
  if (refuses(where)) return false;
  const auto index = find(model_->inputs, name);
  if (!index) {
    return fail(where, ErrorCode::kINVALID_ARGUMENT,
                std::string("Given invalid tensor name: ") + (name == nullptr ? "nullptr" : name));
  }
  const auto shape = to_shape(dims);
  const auto& declared = model_->tensors[model_->inputs[*index]].dims;
  bool fits = shape.size() == declared.size();
  for (size_t axis = 0; fits && axis < shape.size(); ++axis) {
    fits = shape[axis] >= 0 && (declared[axis] == -1 || declared[axis] == shape[axis]);
  }
  if (!fits) {
    return fail(
        where, ErrorCode::kINVALID_ARGUMENT,
        std::string("Parameter check failed, condition: engineDims.d[i] == dims.d[i]. Static dimension "
                    "mismatch while setting input shape for ") +
            name + ". Set dimensions are " + to_text(shape) + ". Expected dimensions are " +
            to_text(declared) + ".");
  }
  const auto low = to_shape(engine_.getProfileShape(name, profile_, OptProfileSelector::kMIN));
  const auto high = to_shape(engine_.getProfileShape(name, profile_, OptProfileSelector::kMAX));
  for (size_t axis = 0; axis < shape.size(); ++axis)
    fits = fits && low[axis] <= shape[axis] && shape[axis] <= high[axis];
  if (!fits) {
    return fail(where, ErrorCode::kINVALID_ARGUMENT,
                "Parameter check failed, condition: satisfyProfile. Set dimension " + to_text(shape) +
                    " for tensor " + name +
                    " does not satisfy any optimization profiles. Valid range for profile " +
                    std::to_string(profile_) + ": " + to_text(low) + ".." + to_text(high) + ".");
  }
  if (inputs_[*index] != shape) ++*reshaped_;
  inputs_[*index] = shape;
  return true;
}

bool Context::allInputDimensionsSpecified() const noexcept {
  return std::none_of(inputs_.begin(), inputs_.end(), [](const Shape& shape) {
    return std::find(shape.begin(), shape.end(), -1) != shape.end();
  });
}

std::optional<std::vector<Shape>> Context::shapes() const {
  auto inferred = infer_shapes(*model_, inputs_, values());
  if (std::holds_alternative<std::string>(inferred)) return std::nullopt;
  return std::get<std::vector<Shape>>(std::move(inferred));
}

Values Context::values() const {
  Values values;
  for (size_t index = 0; index < inputs_.size(); ++index) {
    const auto tensor = model_->inputs[index];
    if (addresses_[index] == 0 || !model_->is_shape(tensor)) continue;
    const auto count = static_cast<size_t>(model_->tensors[tensor].dims[0]);
    values[tensor] = to_values(reinterpret_cast<const void*>(addresses_[index]), count);
  }
  return values;
}

bool Context::take_values(const char* where) {
  auto now = values();
  for (const auto& [tensor, numbers] : now) {
    const auto& name = model_->tensors[tensor].name;
    const auto* const low = engine_.getProfileTensorValuesV2(name.c_str(), profile_, OptProfileSelector::kMIN);
    const auto* const high = engine_.getProfileTensorValuesV2(name.c_str(), profile_, OptProfileSelector::kMAX);
    for (size_t place = 0; place < numbers.size(); ++place) {
      if (low[place] <= numbers[place] && numbers[place] <= high[place]) continue;
      return fail(where, ErrorCode::kINVALID_ARGUMENT,
                  "the values " + to_text(numbers) + " of input " + name + " are not in the range of profile " +
                      std::to_string(profile_));
    }
  }
  if (now != values_) ++*reshaped_;
  values_ = std::move(now);
  return true;
}

int32_t Context::inferShapes(int32_t capacity, const char** names) noexcept {
  constexpr auto* where = "IExecutionContext::inferShapes";
  Inside inside(busy_);
  if (refuses(where)) return -1;
  int32_t missing = 0;
  for (size_t index = 0; index < inputs_.size(); ++index) {
    if (std::find(inputs_[index].begin(), inputs_[index].end(), -1) == inputs_[index].end()) continue;
    if (missing < capacity) names[missing] = model_->tensors[model_->inputs[index]].name.c_str();
    ++missing;
  }
  for (size_t index = 0; index < inputs_.size(); ++index) {
    if (!model_->is_shape(model_->inputs[index]) || addresses_[index] != 0) continue;
    if (missing < capacity) names[missing] = model_->tensors[model_->inputs[index]].name.c_str();
    ++missing;
  }
  if (!take_values(where)) return -1;
  const auto inferred = infer_shapes(*model_, inputs_, values_);
  if (const auto* reason = std::get_if<std::string>(&inferred)) {
    fail(where, ErrorCode::kINVALID_ARGUMENT, *reason);
    return -1;
  }
  return missing;
}

Dims Context::getTensorShape(const char* name) const noexcept {
  constexpr auto* where = "IExecutionContext::getTensorShape";
  Inside inside(busy_);
  if (refuses(where) || find_io(where, name) == nullptr) return Dims{-1, {}};
  // An input's is what was set, whatever the other inputs' are.
  if (const auto input = find(model_->inputs, name)) return to_dims(inputs_[*input]);
  const auto all = shapes();
  if (!all) return Dims{-1, {}};
  return to_dims((*all)[model_->outputs[*find(model_->outputs, name)]]);
}

Dims Context::getTensorStrides(const char* name) const noexcept {
  auto dims = getTensorShape(name);
  int64_t stride = 1;
  for (int32_t axis = dims.nbDims; axis-- > 0;) {
    const auto dim = dims.d[axis];
    dims.d[axis] = stride;
    stride *= dim;
  }
  return dims;
}

bool Context::setTensorAddress(const char* name, void* data) noexcept {
  constexpr auto* where = "IExecutionContext::setTensorAddress";
  Inside inside(busy_);
  if (refuses(where) || find_io(where, name) == nullptr) return false;
  if (to_address(data) % 256 != 0) {
    return fail(where, ErrorCode::kINVALID_ARGUMENT,
                std::string("the address of tensor ") + name + " is not aligned to 256 bytes");
  }
  if (const auto input = find(model_->inputs, name)) {
    addresses_[*input] = to_address(data);
  } else {
    outputs_[*find(model_->outputs, name)].address = to_address(data);
  }
  return true;
}

bool Context::setInputTensorAddress(const char* name, const void* data) noexcept {
  const bool input = find(model_->inputs, name).has_value();
  return input && setTensorAddress(name, const_cast<void*>(data));
}

bool Context::setOutputTensorAddress(const char* name, void* data) noexcept {
  const bool output = find(model_->outputs, name).has_value();
  return output && setTensorAddress(name, data);
}

const void* Context::getTensorAddress(const char* name) const noexcept {
  const auto input = find(model_->inputs, name);
  return input ? reinterpret_cast<const void*>(addresses_[*input]) : getOutputTensorAddress(name);
}

void* Context::getOutputTensorAddress(const char* name) const noexcept {
  const auto output = find(model_->outputs, name);
  return output ? reinterpret_cast<void*>(outputs_[*output].address) : nullptr;
}

bool Context::setOutputAllocator(const char* name, IOutputAllocator* allocator) noexcept {
  constexpr auto* where = "IExecutionContext::setOutputAllocator";
  Inside inside(busy_);
  if (refuses(where)) return false;
  const auto output = find(model_->outputs, name);
  if (!output) return fail(where, ErrorCode::kINVALID_ARGUMENT, "it isn't the name of an output");
  outputs_[*output].allocator = allocator;
  return true;
}

IOutputAllocator* Context::getOutputAllocator(const char* name) noexcept {
  const auto output = find(model_->outputs, name);
  return output ? outputs_[*output].allocator : nullptr;
}

// The bytes for the current shapes. Of an output whose shape only the run knows, as if every element of the
// inputs were found by NonZero, the one such operation.
int64_t Context::getMaxOutputSize(const char* name) const noexcept {
  constexpr auto* where = "IExecutionContext::getMaxOutputSize";
  const auto output = find(model_->outputs, name);
  const auto all = shapes();
  if (refuses(where) || !output || !all) return -1;
  const auto tensor = model_->outputs[*output];
  auto shape = (*all)[tensor];
  int64_t most = 1;
  for (const auto& input : inputs_) most = std::max(most, elements(input));
  std::replace(shape.begin(), shape.end(), int64_t{-1}, most);
  return static_cast<int64_t>(shape_bytes(shape, model_->tensors[tensor].type));
}

bool Context::setInputConsumedEvent(cudaEvent_t event) noexcept {
  Inside inside(busy_);
  if (refuses("IExecutionContext::setInputConsumedEvent")) return false;
  consumed_ = event;
  return true;
}

bool Context::setTemporaryStorageAllocator(IGpuAllocator* allocator) noexcept {
  temporary_ = allocator;
  return true;
}

void Context::setPersistentCacheLimit(size_t size) noexcept {
  if (!refuses("IExecutionContext::setPersistentCacheLimit")) cache_limit_ = size;
}

bool Context::setNvtxVerbosity(ProfilingVerbosity verbosity) noexcept {
  verbosity_ = verbosity;
  return true;
}

bool Context::setDebugListener(IDebugListener* listener) noexcept {
  listener_ = listener;
  return true;
}

size_t Context::updateDeviceMemorySizeForShapes() noexcept {
  constexpr auto* where = "IExecutionContext::updateDeviceMemorySizeForShapes";
  Inside inside(busy_);
  if (refuses(where)) return 0;
  if (!allInputDimensionsSpecified()) {
    fail(where, ErrorCode::kINVALID_STATE, "not all input shapes are specified");
    return 0;
  }
  return static_cast<size_t>(engine_.scratch_bytes(inputs_, values()));
}

void Context::setDeviceMemory(void* memory) noexcept {
  setDeviceMemoryV2(memory, engine_.getDeviceMemorySizeV2());
}

void Context::setDeviceMemoryV2(void* memory, int64_t size) noexcept {
  constexpr auto* where = "IExecutionContext::setDeviceMemoryV2";
  Inside inside(busy_);
  if (refuses(where)) return;
  if (strategy_ != USER_MANAGED || to_address(memory) % 256 != 0) {
    fail(where, ErrorCode::kINVALID_STATE,
         "the context manages its memory, or the address isn't aligned to 256 bytes");
    return;
  }
  given_ = to_address(memory);
  given_bytes_ = size;
}

}  // namespace infer
