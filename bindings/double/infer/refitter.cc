#include "refitter.h"

namespace infer {

using namespace nvinfer1;

Refitter::Refitter(Engine& engine, Voice voice) : engine_(engine), model_(engine.model()), voice_(voice) {
  mImpl = this;
}

const Tensor* Refitter::find(const char* name) const {
  for (const auto& tensor : model_->tensors) {
    if (tensor.constant && name != nullptr && tensor.name == name) return &tensor;
  }
  return nullptr;
}

bool Refitter::setNamedWeights(const char* name, Weights weights) noexcept {
  constexpr auto* where = "IRefitter::setNamedWeights";
  if (voice_.refuses(where)) return false;
  const auto* const tensor = find(name);
  if (tensor == nullptr || weights.type != tensor->type || weights.count != elements(tensor->dims)) {
    voice_.error(
        where, ErrorCode::kINVALID_ARGUMENT,
        std::string("no weights of that name, type and count: ") + (name == nullptr ? "nullptr" : name));
    return false;
  }
  given_[name] = weights;
  return true;
}

bool Refitter::setNamedWeightsWithLocation(const char* name, Weights weights,
                                           TensorLocation location) noexcept {
  return location == TensorLocation::kHOST && setNamedWeights(name, weights);
}

bool Refitter::refitCudaEngine() noexcept {
  if (voice_.refuses("IRefitter::refitCudaEngine")) return false;
  auto changed = std::make_shared<Model>(*model_);
  for (auto& tensor : changed->tensors) {
    const auto found = given_.find(tensor.name);
    if (!tensor.constant || found == given_.end()) continue;
    const auto* const first = static_cast<const std::byte*>(found->second.values);
    tensor.values.assign(first, first + tensor.values.size());
  }
  given_.clear();
  model_ = changed;
  engine_.replace_model(changed);
  return true;
}

bool Refitter::refitCudaEngineAsync(cudaStream_t) noexcept { return refitCudaEngine(); }

// Layers' roles are the old way to refit; here weights have names only.
bool Refitter::setWeights(const char*, WeightsRole, const Weights) noexcept { return false; }
int32_t Refitter::getMissing(int32_t, const char**, WeightsRole*) noexcept { return 0; }
int32_t Refitter::getAll(int32_t, const char**, WeightsRole*) noexcept { return 0; }

int32_t Refitter::getAllWeights(int32_t size, const char** names) noexcept {
  if (voice_.refuses("IRefitter::getAllWeights")) return -1;
  int32_t count = 0;
  for (const auto& tensor : model_->tensors) {
    if (!tensor.constant) continue;
    if (count < size) names[count] = tensor.name.c_str();
    ++count;
  }
  return count;
}

// None: a value that isn't given stays.
int32_t Refitter::getMissingWeights(int32_t, const char**) noexcept { return 0; }

bool Refitter::setMaxThreads(int32_t threads) noexcept {
  if (threads < 1) return false;
  threads_ = threads;
  return true;
}

Weights Refitter::getNamedWeights(const char* name) const noexcept {
  const auto found = given_.find(name);
  return found == given_.end() ? Weights{DataType::kFLOAT, nullptr, 0} : found->second;
}

TensorLocation Refitter::getWeightsLocation(const char*) const noexcept { return TensorLocation::kHOST; }

bool Refitter::unsetNamedWeights(const char* name) noexcept { return given_.erase(name) > 0; }

Weights Refitter::getWeightsPrototype(const char* name) const noexcept {
  const auto* const tensor = voice_.refuses("IRefitter::getWeightsPrototype") ? nullptr : find(name);
  if (tensor == nullptr) return {DataType::kFLOAT, nullptr, -1};
  return {tensor->type, nullptr, elements(tensor->dims)};
}

IRefitter* make_refitter(Engine& engine, ILogger& logger) {
  const Voice voice{&logger, engine.voice().recorder};
  if (!engine.isRefittable()) {
    voice.error(
        "createInferRefitter", ErrorCode::kINVALID_STATE,
        "Parameter check failed, condition: engine.isRefittable(). The engine was built without kREFIT");
    return nullptr;
  }
  return new Refitter(engine, voice);
}

}  // namespace infer
