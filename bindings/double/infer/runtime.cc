// The runtime, and what the library exports for running engines. The version that it tells is the headers',
// or FOREBAY_DOUBLE_VERSION.
#include <cstdlib>

#include "control.h"
#include "engine.h"
#include "plan.h"
#include "refitter.h"

namespace infer {

using namespace nvinfer1;

class Runtime final : public IRuntime, public apiv::VRuntime {
 public:
  explicit Runtime(ILogger* logger) : voice_{logger, nullptr} { mImpl = this; }

  IRuntime* getPImpl() noexcept override { return this; }
  ICudaEngine* deserializeCudaEngine(const void* blob, std::size_t size) noexcept override;
  ICudaEngine* deserializeCudaEngineV2(IStreamReaderV2& reader) noexcept override;
  void setDLACore(int32_t) noexcept override {}
  int32_t getDLACore() const noexcept override { return 0; }
  int32_t getNbDLACores() const noexcept override { return 0; }
  void setGpuAllocator(IGpuAllocator* allocator) noexcept override { allocator_ = allocator; }
  void setErrorRecorder(IErrorRecorder* recorder) noexcept override { voice_.recorder = recorder; }
  IErrorRecorder* getErrorRecorder() const noexcept override { return voice_.recorder; }
  ILogger* getLogger() const noexcept override { return voice_.logger; }
  bool setMaxThreads(int32_t threads) noexcept override {
    threads_ = threads;
    return threads > 0;
  }
  int32_t getMaxThreads() const noexcept override { return threads_; }
  void setTemporaryDirectory(const char* path) noexcept override { temporary_ = path == nullptr ? "" : path; }
  const char* getTemporaryDirectory() const noexcept override { return temporary_.c_str(); }
  void setTempfileControlFlags(TempfileControlFlags flags) noexcept override { flags_ = flags; }
  TempfileControlFlags getTempfileControlFlags() const noexcept override { return flags_; }
  IPluginRegistry& getPluginRegistry() noexcept override { forbidden("it has no plugins"); }
  void setPluginRegistryParent(IPluginRegistry*) noexcept override {}
  IRuntime* loadRuntime(const char*) noexcept override { return nullptr; }
  void setEngineHostCodeAllowed(bool allowed) noexcept override { host_code_ = allowed; }
  bool getEngineHostCodeAllowed() const noexcept override { return host_code_; }
#if NV_TENSORRT_VERSION >= 110400
  bool setDLAWorkspaceAllocationStrategy(DLAWorkspaceAllocationStrategy) noexcept override { return false; }
  DLAWorkspaceAllocationStrategy getDLAWorkspaceAllocationStrategy() const noexcept override { return {}; }
#endif
#if NV_TENSORRT_MAJOR == 10
  ICudaEngine* deserializeCudaEngine(IStreamReader&) noexcept override { return nullptr; }
#endif

 private:
  ICudaEngine* load(const void* blob, std::size_t size);

  Voice voice_;
  IGpuAllocator* allocator_ = nullptr;
  bool host_code_ = false;
  int32_t threads_ = 1;
  std::string temporary_;
  TempfileControlFlags flags_ = 0;
  Alive alive_{"runtime"};
};

namespace {

constexpr auto* WHERE = "IRuntime::deserializeCudaEngine";

}  // namespace

ICudaEngine* Runtime::deserializeCudaEngine(const void* blob, std::size_t size) noexcept {
  return voice_.refuses(WHERE) ? nullptr : load(blob, size);
}

ICudaEngine* Runtime::load(const void* blob, std::size_t size) {
  const auto device = kernel::current_device();
  if (!device) {
    voice_.error(
        WHERE, ErrorCode::kFAILED_INITIALIZATION,
        "CUDA initialization failure with error: 201. The calling thread has no usable CUDA context");
    return nullptr;
  }
  auto plan = read_plan(blob, size, kernel::compute_capability(*device));
  if (const auto* refusal = std::get_if<Refusal>(&plan)) {
    voice_.error(WHERE, refusal->code, refusal->text);
    return nullptr;
  }
  const auto model = std::get<std::shared_ptr<Model>>(plan);
  const bool carries_code =
      model->has(BuilderFlag::kVERSION_COMPATIBLE) && !model->has(BuilderFlag::kEXCLUDE_LEAN_RUNTIME);
  if (carries_code && !host_code_) {
    voice_.error(
        WHERE, ErrorCode::kINVALID_CONFIG,
        "The plan holds host code, a lean runtime. Allow it with setEngineHostCodeAllowed(true) if it is "
        "trusted");
    return nullptr;
  }
  auto engine = std::make_unique<Engine>(model, *device, voice_, allocator_);
  if (!engine->weights_placed()) {
    voice_.error(WHERE, ErrorCode::kFAILED_ALLOCATION,
                 "Requested amount of GPU memory could not be allocated");
    return nullptr;
  }
  return engine.release();
}

ICudaEngine* Runtime::deserializeCudaEngineV2(IStreamReaderV2& reader) noexcept {
  if (voice_.refuses(WHERE)) return nullptr;
  constexpr int64_t STEP = 65536;
  Bytes plan;
  for (;;) {
    const auto begin = plan.size();
    plan.resize(begin + STEP);
    const auto got = reader.read(plan.data() + begin, STEP, nullptr);
    plan.resize(begin + static_cast<size_t>(got < 0 ? 0 : got));
    if (got <= 0) break;
  }
  return load(plan.data(), plan.size());
}

}  // namespace infer

namespace {

int32_t version() {
  const char* const told = std::getenv("FOREBAY_DOUBLE_VERSION");
  return told == nullptr ? static_cast<int32_t>(NV_TENSORRT_VERSION) : static_cast<int32_t>(std::atoi(told));
}

// As TensorRT: a caller with headers of another major version gets nothing.
bool fits(void* logger, int32_t headers) { return logger != nullptr && headers / 10000 == version() / 10000; }

}  // namespace

void* createInferRuntime_INTERNAL(void* logger, int32_t headers) noexcept {
  if (const int code = control::enter("createInferRuntime")) return infer::refused_object<void>(code);
  if (!fits(logger, headers)) return nullptr;
  return static_cast<nvinfer1::IRuntime*>(new infer::Runtime(static_cast<nvinfer1::ILogger*>(logger)));
}

void* createInferRefitter_INTERNAL(void* engine, void* logger, int32_t headers) noexcept {
  if (const int code = control::enter("createInferRefitter")) return infer::refused_object<void>(code);
  if (!fits(logger, headers) || engine == nullptr) return nullptr;
  auto* const own = static_cast<infer::Engine*>(static_cast<nvinfer1::ICudaEngine*>(engine));
  return infer::make_refitter(*own, *static_cast<nvinfer1::ILogger*>(logger));
}

int32_t getInferLibVersion() noexcept { return version(); }
int32_t getInferLibMajorVersion() noexcept { return version() / 10000; }
int32_t getInferLibMinorVersion() noexcept { return version() / 100 % 100; }
int32_t getInferLibPatchVersion() noexcept { return version() % 100; }
int32_t getInferLibBuildVersion() noexcept { return 0; }
nvinfer1::ILogger* getLogger() noexcept { return nullptr; }
nvinfer1::IPluginRegistry* getPluginRegistry() noexcept { return nullptr; }
