// Engines. Weights are counted on the device and read from the host. Layers, formats, tactics and debug
// tensors are the least that the interface allows: one layer an operation, linear formats.
#include "engine.h"

#include <algorithm>
#include <limits>

#include "context.h"
#include "host_memory.h"
#include "inspector.h"
#include "plan.h"
#include "refitter.h"

namespace infer {

using namespace nvinfer1;

namespace {

// TensorRT asks for this alignment, and so does the double.
constexpr uint64_t ALIGNMENT = 256;
// Scratch memory that every context needs, so that its checks have something to look at.
constexpr size_t LEAST_SCRATCH = 1024;

size_t aligned(size_t bytes) { return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

}  // namespace

Scratch::Scratch(IGpuAllocator* allocator, size_t bytes) : allocator_(allocator), bytes_(bytes) {
  address_ = allocator == nullptr
                 ? kernel::allocate(bytes)
                 : reinterpret_cast<CUdeviceptr>(allocator->allocateAsync(bytes, ALIGNMENT, 0, nullptr));
}

Scratch::~Scratch() {
  if (address_ == 0) return;
  if (allocator_ == nullptr) {
    kernel::free(address_);
  } else {
    allocator_->deallocateAsync(reinterpret_cast<void*>(address_), nullptr);
  }
}

Engine::Engine(std::shared_ptr<Model> model, CUdevice device, Voice voice, IGpuAllocator* allocator)
    : first_(model),
      current_(model),
      device_(device),
      voice_(voice),
      allocator_(allocator),
      weights_(allocator, std::max(aligned(static_cast<size_t>(model->weight_bytes())), size_t{ALIGNMENT})),
      budget_(getStreamableWeightsSize()) {
  mImpl = this;
  place(*model);
}

void Engine::place(const Model& model) const {
  auto to = weights_.address();
  if (to == 0) return;
  for (const auto& tensor : model.tensors) {
    if (!tensor.constant || tensor.values.empty()) continue;
    // What can't be written is found by the runs: the device has an error then.
    kernel::write(to, tensor.values.data(), tensor.values.size());
    to += tensor.values.size();
  }
}

Engine::~Engine() noexcept {
  if (contexts_ != 0) forbidden("an engine was destroyed before its contexts");
}

std::shared_ptr<const Model> Engine::model() const {
  std::lock_guard guard(lock_);
  return current_;
}

void Engine::replace_model(std::shared_ptr<const Model> model) {
  std::lock_guard guard(lock_);
  place(*model);
  current_ = std::move(model);
}

int64_t Engine::scratch_bytes(const std::vector<Shape>& inputs, const Values& values) const {
  auto bytes = LEAST_SCRATCH;
  const auto shapes = infer_shapes(*first_, inputs, values);
  if (const auto* all = std::get_if<std::vector<Shape>>(&shapes)) {
    for (const auto& node : first_->nodes) {
      bytes += aligned(shape_bytes((*all)[node.output], first_->tensors[node.output].type));
    }
  }
  return static_cast<int64_t>(bytes);
}

const Tensor* Engine::find(const char* where, const char* name) const {
  const auto* const tensor = name == nullptr ? nullptr : first_->io(name);
  if (tensor == nullptr) {
    voice_.error(where, ErrorCode::kINVALID_ARGUMENT,
                 std::string("Given invalid tensor name: ") + (name == nullptr ? "nullptr" : name) +
                     ". Get valid tensor names with getIOTensorName()");
  }
  return tensor;
}

int32_t Engine::getNbLayers() const noexcept { return static_cast<int32_t>(first_->nodes.size()); }

IHostMemory* Engine::serialize() const noexcept {
  if (voice_.refuses("ICudaEngine::serialize")) return nullptr;
  return new HostMemory(write_plan(*model()));
}

IExecutionContext* Engine::createExecutionContext(ExecutionContextAllocationStrategy strategy) noexcept {
  constexpr auto* where = "ICudaEngine::createExecutionContext";
  if (voice_.refuses(where)) return nullptr;
  if (kernel::current_device() != device_) {
    voice_.error(where, ErrorCode::kFAILED_INITIALIZATION,
                 "the calling thread's CUDA context is not of the engine's device, or can't be used");
    return nullptr;
  }
  auto context = std::make_unique<Context>(*this, strategy);
  if (!context->has_scratch()) {
    voice_.error(where, ErrorCode::kFAILED_ALLOCATION,
                 "Requested amount of GPU memory could not be allocated");
    return nullptr;
  }
  return context.release();
}

bool Engine::isRefittable() const noexcept { return first_->has(BuilderFlag::kREFIT); }

const char* Engine::getName() const noexcept { return first_->name.c_str(); }

int32_t Engine::getNbOptimizationProfiles() const noexcept {
  return static_cast<int32_t>(std::max<size_t>(first_->profiles.size(), 1));
}

EngineCapability Engine::getEngineCapability() const noexcept { return EngineCapability::kSTANDARD; }
void Engine::setErrorRecorder(IErrorRecorder* recorder) noexcept { voice_.recorder = recorder; }
IErrorRecorder* Engine::getErrorRecorder() const noexcept { return voice_.recorder; }
TacticSources Engine::getTacticSources() const noexcept { return 0; }
ProfilingVerbosity Engine::getProfilingVerbosity() const noexcept {
  return ProfilingVerbosity::kLAYER_NAMES_ONLY;
}

IEngineInspector* Engine::createEngineInspector() const noexcept {
  if (voice_.refuses("ICudaEngine::createEngineInspector")) return nullptr;
  return new Inspector(first_, voice_);
}

Dims Engine::getTensorShape(const char* name) const noexcept {
  const auto* const tensor = find("ICudaEngine::getTensorShape", name);
  return tensor == nullptr ? Dims{-1, {}} : to_dims(tensor->dims);
}

DataType Engine::getTensorDataType(const char* name) const noexcept {
  const auto* const tensor = find("ICudaEngine::getTensorDataType", name);
  return tensor == nullptr ? DataType::kFLOAT : tensor->type;
}

TensorLocation Engine::getTensorLocation(const char* name) const noexcept {
  const bool shape = find("ICudaEngine::getTensorLocation", name) != nullptr && first_->is_shape(name);
  return shape ? TensorLocation::kHOST : TensorLocation::kDEVICE;
}

bool Engine::isShapeInferenceIO(const char* name) const noexcept {
  return find("ICudaEngine::isShapeInferenceIO", name) != nullptr && first_->is_shape(name);
}

TensorIOMode Engine::getTensorIOMode(const char* name) const noexcept {
  if (find("ICudaEngine::getTensorIOMode", name) == nullptr) return TensorIOMode::kNONE;
  return first_->is_input(name) ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
}

// -1 and kLINEAR: no format here packs elements.
int32_t Engine::getTensorBytesPerComponent(const char*) const noexcept { return -1; }
int32_t Engine::getTensorComponentsPerElement(const char*) const noexcept { return -1; }
TensorFormat Engine::getTensorFormat(const char*) const noexcept { return TensorFormat::kLINEAR; }
const char* Engine::getTensorFormatDesc(const char*) const noexcept { return "Row major linear format"; }
int32_t Engine::getTensorVectorizedDim(const char*) const noexcept { return -1; }
int32_t Engine::getTensorBytesPerComponentV2(const char*, int32_t) const noexcept { return -1; }
int32_t Engine::getTensorComponentsPerElementV2(const char*, int32_t) const noexcept { return -1; }
TensorFormat Engine::getTensorFormatV2(const char*, int32_t) const noexcept { return TensorFormat::kLINEAR; }
const char* Engine::getTensorFormatDescV2(const char*, int32_t) const noexcept {
  return "Row major linear format";
}
int32_t Engine::getTensorVectorizedDimV2(const char*, int32_t) const noexcept { return -1; }

Dims Engine::getProfileShape(const char* name, int32_t profile, OptProfileSelector select) const noexcept {
  constexpr auto* where = "ICudaEngine::getProfileShape";
  const auto* const tensor = find(where, name);
  if (tensor == nullptr) return Dims{-1, {}};
  if (profile < 0 || profile >= getNbOptimizationProfiles() || !first_->is_input(name)) {
    voice_.error(
        where, ErrorCode::kINVALID_ARGUMENT,
        "Parameter check failed, condition: 0 <= profileIndex < getNbOptimizationProfiles(), of an input");
    return Dims{-1, {}};
  }
  if (first_->profiles.empty() || first_->is_shape(name)) return to_dims(tensor->dims);
  const auto& ranges = first_->profiles[static_cast<size_t>(profile)];
  const auto found = ranges.find(name);
  return to_dims(found == ranges.end() ? tensor->dims : found->second[static_cast<size_t>(select)]);
}

int32_t Engine::getNbIOTensors() const noexcept {
  return static_cast<int32_t>(first_->inputs.size() + first_->outputs.size());
}

const char* Engine::getIOTensorName(int32_t index) const noexcept {
  if (voice_.refuses("ICudaEngine::getIOTensorName")) return nullptr;
  if (index < 0 || index >= getNbIOTensors()) {
    voice_.error("ICudaEngine::getIOTensorName", ErrorCode::kINVALID_ARGUMENT,
                 "Parameter check failed, condition: 0 <= index < getNbIOTensors()");
    return nullptr;
  }
  const auto place = static_cast<size_t>(index);
  const auto inputs = first_->inputs.size();
  const auto tensor = place < inputs ? first_->inputs[place] : first_->outputs[place - inputs];
  return first_->tensors[tensor].name.c_str();
}

HardwareCompatibilityLevel Engine::getHardwareCompatibilityLevel() const noexcept {
  return first_->compatibility;
}
int32_t Engine::getNbAuxStreams() const noexcept { return 0; }
ISerializationConfig* Engine::createSerializationConfig() noexcept { return nullptr; }
IHostMemory* Engine::serializeWithConfig(ISerializationConfig&) const noexcept { return serialize(); }

IRefitter* Engine::createRefitter(ILogger& logger) noexcept { return make_refitter(*this, logger); }

int64_t Engine::getStreamableWeightsSize() const noexcept {
  return first_->has(BuilderFlag::kWEIGHT_STREAMING) ? first_->weight_bytes() : 0;
}

bool Engine::isDebugTensor(const char*) const noexcept { return false; }

bool Engine::setWeightStreamingBudgetV2(int64_t bytes) noexcept {
  constexpr auto* where = "ICudaEngine::setWeightStreamingBudgetV2";
  if (voice_.refuses(where)) return false;
  if (contexts_ != 0 || bytes < 0) {
    voice_.error(where, ErrorCode::kINVALID_STATE,
                 "the budget can't be changed while the engine has execution contexts, and is 0 or more");
    return false;
  }
  budget_ = std::min(bytes, getStreamableWeightsSize());
  return true;
}

int64_t Engine::getWeightStreamingBudgetV2() const noexcept { return budget_; }
int64_t Engine::getWeightStreamingAutomaticBudget() const noexcept { return getStreamableWeightsSize(); }
int64_t Engine::getWeightStreamingScratchMemorySize() const noexcept { return 0; }

int64_t Engine::getDeviceMemorySizeV2() const noexcept {
  int64_t most = 0;
  for (int32_t profile = 0; profile < getNbOptimizationProfiles(); ++profile) {
    most = std::max(most, profile_scratch_bytes(profile));
  }
  return most;
}

int64_t Engine::getDeviceMemorySizeForProfileV2(int32_t profile) const noexcept {
  if (voice_.refuses("ICudaEngine::getDeviceMemorySizeForProfileV2")) return -1;
  return profile_scratch_bytes(profile);
}

int64_t Engine::profile_scratch_bytes(int32_t profile) const {
  std::vector<Shape> inputs;
  Values values;
  for (const auto index : first_->inputs) {
    const auto& [name, type, declared, constant, bytes] = first_->tensors[index];
    const auto dims = getProfileShape(name.c_str(), profile, OptProfileSelector::kMAX);
    if (dims.nbDims < 0) return -1;
    inputs.push_back(to_shape(dims));
    const auto* const most = getProfileTensorValuesV2(name.c_str(), profile, OptProfileSelector::kMAX);
    if (most != nullptr) values[index] = to_values(most, static_cast<size_t>(declared[0]));
  }
  return scratch_bytes(inputs, values);
}

const int64_t* Engine::getProfileTensorValuesV2(const char* name, int32_t profile,
                                                OptProfileSelector select) const noexcept {
  const auto place = static_cast<size_t>(profile);
  if (name == nullptr || !first_->is_shape(name) || place >= first_->profiles.size()) return nullptr;
  return first_->profiles[place].at(name)[static_cast<size_t>(select)].data();
}

IExecutionContext* Engine::createExecutionContextWithRuntimeConfig(IRuntimeConfig* config) noexcept {
  return config == nullptr ? nullptr
                           : createExecutionContext(config->getExecutionContextAllocationStrategy());
}

IRuntimeConfig* Engine::createRuntimeConfig() noexcept { return nullptr; }

int64_t Engine::getEngineStat(EngineStat stat) const noexcept {
  return stat == EngineStat::kTOTAL_WEIGHTS_SIZE ? first_->weight_bytes() : 0;
}

const char* Engine::getAliasedInputTensor(const char*) const noexcept { return nullptr; }

}  // namespace infer
