// Claims about the double of TensorRT.
#include "engine.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>

using namespace nvinfer1;

std::vector<char> build(Log& log, const Build& wanted) {
  const std::unique_ptr<IBuilder> builder(createInferBuilder(log));
  CHECK(builder);
  const std::unique_ptr<INetworkDefinition> network(builder->createNetworkV2(0));
  const std::unique_ptr<nvonnxparser::IParser> parser(nvonnxparser::createParser(*network, log));
  if (!parser->parseFromFile(wanted.model.c_str(), 0)) return {};
  const std::unique_ptr<IBuilderConfig> config(builder->createBuilderConfig());
  config->setFlags(wanted.flags);
  for (const auto& limits : wanted.profiles) {
    auto* const profile = builder->createOptimizationProfile();
    auto shape = network->getInput(0)->getDimensions();
    shape.d[0] = limits.low;
    CHECK(profile->setDimensions("x", OptProfileSelector::kMIN, shape));
    CHECK(profile->setDimensions("x", OptProfileSelector::kOPT, shape));
    shape.d[0] = limits.high;
    CHECK(profile->setDimensions("x", OptProfileSelector::kMAX, shape));
    CHECK(config->addOptimizationProfile(profile) >= 0);
  }
  const std::unique_ptr<IHostMemory> plan(builder->buildSerializedNetwork(*network, *config));
  if (!plan) return {};
  const auto* const first = static_cast<const char*>(plan->data());
  return {first, first + plan->size()};
}

Loaded::Loaded(Log& log, const std::vector<char>& plan) : runtime(createInferRuntime(log)) {
  CHECK(runtime);
  runtime->setEngineHostCodeAllowed(true);
  engine.reset(runtime->deserializeCudaEngine(plan.data(), plan.size()));
  if (!engine) std::fputs(log.take().c_str(), stderr);
  CHECK(engine);
}

std::vector<float> run(const Gpu& gpu, IExecutionContext& context, const std::vector<float>& numbers) {
  const auto bytes = numbers.size() * sizeof(float);
  const auto x = gpu.allocate(bytes);
  const auto y = gpu.allocate(bytes);
  std::vector<float> result(numbers.size());
  CHECK(context.setInputShape("x", dims({static_cast<int64_t>(numbers.size() / 4), 4})));
  CHECK(context.inferShapes(0, nullptr) == 0);
  CHECK(context.setTensorAddress("x", pointer(x)) && context.setTensorAddress("doubled", pointer(y)));
  OK(cuMemcpyHtoDAsync_v2(x, numbers.data(), bytes, gpu.stream));
  CHECK(context.enqueueV3(stream_of(gpu)));
  OK(cuMemcpyDtoHAsync_v2(result.data(), y, bytes, gpu.stream));
  OK(cuMemFree_v2(x));
  OK(cuMemFree_v2(y));
  return result;
}

namespace {

bool contains(const std::string& text, const char* part) {
  const bool found = text.find(part) != std::string::npos;
  if (!found) std::fprintf(stderr, "no \"%s\" in: %s\n", part, text.c_str());
  return found;
}

std::vector<char> affine_plan(Log& log, uint32_t flags = 0) {
  return build(log, {affine_model(), {{1, 2}, {1, 64}}, flags});
}

uint32_t flag(BuilderFlag flag) { return 1U << static_cast<uint32_t>(flag); }

void an_onnx_file_is_built_loaded_and_run_with_dynamic_shapes() {
  const Gpu gpu;
  Log log;
  const Loaded loaded(log, affine_plan(log));
  auto& engine = *loaded.engine;
  CHECK(engine.getNbIOTensors() == 2 && engine.getNbOptimizationProfiles() == 2 && engine.getNbLayers() == 2);
  CHECK(std::strcmp(engine.getIOTensorName(1), "doubled") == 0);
  CHECK(engine.getProfileShape("x", 1, OptProfileSelector::kMAX).d[0] == 64);
  CHECK(engine.getDeviceMemorySizeForProfileV2(1) > engine.getDeviceMemorySizeForProfileV2(0));
  const std::unique_ptr<IExecutionContext> context(engine.createExecutionContext());
  CHECK((run(gpu, *context, {1, 2, 3, 4}) == std::vector<float>{2, 5, 8, 11}));
  CHECK((run(gpu, *context, {0, 0, 0, 0, 1, 1, 1, 1}) == std::vector<float>{0, 1, 2, 3, 2, 3, 4, 5}));
  CHECK(log.take().empty());
}

void a_layer_computes_what_onnx_runtime_computes() {
  const Gpu gpu;
  Log log;
  const Loaded loaded(log, build(log, {layer_model(), {{1, 8}}}));
  const std::unique_ptr<IExecutionContext> context(loaded.engine->createExecutionContext());
  const float numbers[4] = {1, 2, 3, 1};
  float result[6] = {};
  const auto x = gpu.allocate(sizeof numbers);
  const auto y = gpu.allocate(sizeof result);
  CHECK(context->setInputShape("x", dims({2, 2})));
  CHECK(context->setTensorAddress("x", pointer(x)) && context->setTensorAddress("y", pointer(y)));
  OK(cuMemcpyHtoDAsync_v2(x, numbers, sizeof numbers, gpu.stream));
  CHECK(context->enqueueV3(stream_of(gpu)));
  OK(cuMemcpyDtoHAsync_v2(result, y, sizeof result, gpu.stream));
  // From ONNX Runtime 1.31.1, for the same file and numbers.
  const float wanted[6] = {1, 1, 4, 3, 0, 2};
  CHECK(std::equal(wanted, wanted + 6, result));
}

void shapes_are_held_to_the_profile() {
  const Gpu gpu;
  Log log;
  const Loaded loaded(log, affine_plan(log));
  const std::unique_ptr<IExecutionContext> context(loaded.engine->createExecutionContext());
  const char* missing[2] = {};
  CHECK(context->inferShapes(2, missing) == 1 && std::strcmp(missing[0], "x") == 0);
  CHECK(!context->setInputShape("x", dims({3, 4})));
  CHECK(contains(log.take(), "Set dimension [3,4] for tensor x does not satisfy any optimization profiles"));
  CHECK(!context->setInputShape("x", dims({1, 5})));
  CHECK(contains(log.take(), "Static dimension mismatch"));
  CHECK(!context->setInputShape("z", dims({1, 4})));
  CHECK(contains(log.take(), "invalid tensor name"));
  CHECK(!context->setOptimizationProfileAsync(2, stream_of(gpu)));
  CHECK(contains(log.take(), "profileIndex"));
  CHECK(context->setOptimizationProfileAsync(1, stream_of(gpu)));
  CHECK(context->setInputShape("x", dims({3, 4})));
  CHECK(context->getTensorShape("doubled").d[0] == 3);
  CHECK(!context->setTensorAddress("x", reinterpret_cast<void*>(0x1001)));
  CHECK(contains(log.take(), "not aligned"));
  CHECK(!context->enqueueV3(stream_of(gpu)));
  CHECK(contains(log.take(), "Address is not set for input"));
}

// Takes what it is given, counts, and gives new memory.
class Allocator final : public IOutputAllocator {
 public:
  explicit Allocator(const Gpu& gpu) : gpu_(gpu) {}
  void* reallocateOutputAsync(const char*, void*, uint64_t size, uint64_t, cudaStream_t) override {
    address = gpu_.allocate(size);
    return pointer(address);
  }
  void notifyShape(const char*, const Dims& shape) noexcept override { told = shape; }

  CUdeviceptr address = 0;
  Dims told{};

 private:
  const Gpu& gpu_;
};

void an_output_may_tell_its_size_as_it_runs() {
  const Gpu gpu;
  Log log;
  const Loaded loaded(log, build(log, {non_zero_model(), {{1, 8}}}));
  CHECK(loaded.engine->getTensorShape("places").d[1] == -1);
  const std::unique_ptr<IExecutionContext> context(loaded.engine->createExecutionContext());
  Allocator allocator(gpu);
  const std::vector<float> numbers{0, 5, 0, 7, 8};
  const auto x = gpu.allocate(numbers.size() * sizeof(float));
  OK(cuMemcpyHtoD_v2(x, numbers.data(), numbers.size() * sizeof(float)));
  CHECK(context->setInputShape("x", dims({5})));
  CHECK(context->getTensorShape("places").d[1] == -1);
  CHECK(context->setTensorAddress("x", pointer(x)));
  CHECK(!context->enqueueV3(stream_of(gpu)));
  CHECK(contains(log.take(), "Neither address or allocator is set"));
  CHECK(context->setOutputAllocator("places", &allocator));
  CHECK(context->enqueueV3(stream_of(gpu)));
  CHECK(allocator.told.nbDims == 2 && allocator.told.d[0] == 1 && allocator.told.d[1] == 3);
  int64_t places[3] = {};
  OK(cuMemcpyDtoHAsync_v2(places, allocator.address, sizeof places, gpu.stream));
  CHECK(places[0] == 1 && places[1] == 3 && places[2] == 4);
  OK(cuStreamBeginCapture_v2(gpu.stream, CAPTURE_THREAD_LOCAL));
  CHECK(!context->enqueueV3(stream_of(gpu)));
  CHECK(contains(log.take(), "can't be captured"));
}

void a_plan_is_refused_for_what_is_wrong_with_it() {
  const Gpu gpu;
  Log log;
  const auto plan = affine_plan(log);
  const std::unique_ptr<IRuntime> runtime(createInferRuntime(log));
  const auto refused = [&](const std::vector<char>& bytes, const char* reason) {
    CHECK(runtime->deserializeCudaEngine(bytes.data(), bytes.size()) == nullptr);
    CHECK(contains(log.take(), reason));
  };
  const auto changed = [&](size_t at) {
    auto copy = plan;
    copy[at] = static_cast<char>(copy[at] + 1);
    return copy;
  };
  refused({}, "The plan is empty");
  refused({plan.begin(), plan.begin() + 5}, "its header alone");
  refused({plan.begin(), plan.end() - 1}, "truncated");
  refused(changed(0), "Magic tag does not match");
  refused(changed(8), "Version tag does not match");
  refused(changed(12), "please rebuild");
  refused(changed(16), "expecting compute 8.6 got compute 8.7");
  refused(changed(36), "Serialization failed");
  refused(affine_plan(log, flag(BuilderFlag::kVERSION_COMPATIBLE)), "host code");
  runtime->setEngineHostCodeAllowed(true);
  const auto trusted = affine_plan(log, flag(BuilderFlag::kVERSION_COMPATIBLE));
  const std::unique_ptr<ICudaEngine> engine(runtime->deserializeCudaEngine(trusted.data(), trusted.size()));
  CHECK(engine);
  const std::unique_ptr<IHostMemory> again(engine->serialize());
  CHECK(again->size() == trusted.size() && std::memcmp(again->data(), trusted.data(), trusted.size()) == 0);
}

void a_plan_needs_ranges_for_dynamic_inputs() {
  const Gpu gpu;
  Log log;
  CHECK(build(log, {affine_model(), {}}).empty());
  CHECK(contains(log.take(), "input x has no range in a profile"));
}

void an_engine_can_be_refitted() {
  const Gpu gpu;
  Log log;
  const Loaded loaded(log, affine_plan(log, flag(BuilderFlag::kREFIT)));
  const std::unique_ptr<IExecutionContext> context(loaded.engine->createExecutionContext());
  const std::unique_ptr<IRefitter> refitter(createInferRefitter(*loaded.engine, log));
  CHECK(refitter && refitter->getAllWeights(0, nullptr) == 2);
  const float three = 3;
  CHECK(!refitter->setNamedWeights("factor", {DataType::kFLOAT, &three, 2}));
  CHECK(refitter->setNamedWeights("factor", {DataType::kFLOAT, &three, 1}) && refitter->refitCudaEngine());
  CHECK((run(gpu, *context, {1, 1, 1, 1}) == std::vector<float>{3, 4, 5, 6}));
  const std::unique_ptr<nvonnxparser::IParserRefitter> parser(
      nvonnxparser::createParserRefitter(*refitter, log));
  CHECK(parser->refitFromFile(affine_model().c_str()) && refitter->refitCudaEngine());
  CHECK((run(gpu, *context, {1, 1, 1, 1}) == std::vector<float>{2, 3, 4, 5}));
  const Loaded fixed(log, affine_plan(log));
  log.take();
  CHECK(createInferRefitter(*fixed.engine, log) == nullptr && contains(log.take(), "kREFIT"));
}

void contexts_can_use_memory_of_the_users() {
  const Gpu gpu;
  Log log;
  const Loaded loaded(log, affine_plan(log));
  const std::unique_ptr<IExecutionContext> context(
      loaded.engine->createExecutionContext(ExecutionContextAllocationStrategy::kUSER_MANAGED));
  CHECK(context->setInputShape("x", dims({2, 4})));
  const auto needed = context->updateDeviceMemorySizeForShapes();
  const auto memory = gpu.allocate(needed);
  const auto x = gpu.allocate(32);
  CHECK(context->setTensorAddress("x", pointer(x)) && context->setTensorAddress("doubled", pointer(x)));
  context->setDeviceMemoryV2(pointer(memory), static_cast<int64_t>(needed) - 1);
  CHECK(!context->enqueueV3(stream_of(gpu)));
  CHECK(contains(log.take(), "bytes of device memory"));
  context->setDeviceMemoryV2(pointer(memory), static_cast<int64_t>(needed));
  CHECK(context->enqueueV3(stream_of(gpu)));
  OK(cuStreamSynchronize(gpu.stream));
}

void consumed_inputs_are_told_before_outputs_are_done() {
  const Gpu gpu;
  Log log;
  const Loaded loaded(log, affine_plan(log));
  const std::unique_ptr<IExecutionContext> context(loaded.engine->createExecutionContext());
  CUevent consumed = nullptr;
  OK(cuEventCreate(&consumed, CU_EVENT_DISABLE_TIMING));
  CHECK(context->setInputConsumedEvent(consumed));
  const auto x = gpu.allocate(16);
  const auto y = gpu.allocate(16);
  CHECK(context->setInputShape("x", dims({1, 4})));
  CHECK(context->setTensorAddress("x", pointer(x)) && context->setTensorAddress("doubled", pointer(y)));
  forebay_double_close_gate("enqueueV3");
  CHECK(context->enqueueV3(stream_of(gpu)));
  OK(cuEventSynchronize(consumed));
  CHECK_CUDA(CUDA_ERROR_NOT_READY, cuStreamQuery(gpu.stream));
  forebay_double_open_gate("enqueueV3");
  OK(cuStreamSynchronize(gpu.stream));
}

void a_captured_run_is_replayed_with_new_inputs() {
  const Gpu gpu;
  Log log;
  const Loaded loaded(log, affine_plan(log));
  const std::unique_ptr<IExecutionContext> context(loaded.engine->createExecutionContext());
  const auto x = gpu.allocate(16);
  const auto y = gpu.allocate(16);
  CHECK(context->setInputShape("x", dims({1, 4})));
  CHECK(context->setTensorAddress("x", pointer(x)) && context->setTensorAddress("doubled", pointer(y)));
  OK(cuStreamBeginCapture_v2(gpu.stream, CAPTURE_THREAD_LOCAL));
  CHECK(context->enqueueV3(stream_of(gpu)));
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  OK(cuStreamEndCapture(gpu.stream, &graph));
  OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  for (float value = 1; value < 4; ++value) {
    const float numbers[4] = {value, value, value, value};
    float result[4] = {};
    OK(cuMemcpyHtoDAsync_v2(x, numbers, 16, gpu.stream));
    OK(cuGraphLaunch(exec, gpu.stream));
    OK(cuMemcpyDtoHAsync_v2(result, y, 16, gpu.stream));
    CHECK(result[3] == 2 * value + 3);
  }
  OK(cuGraphExecDestroy(exec));
  OK(cuGraphDestroy(graph));
}

void a_graph_gives_other_bytes_once_its_context_took_other_shapes() {
  const Gpu gpu;
  Log log;
  const Loaded loaded(log, affine_plan(log));
  const std::unique_ptr<IExecutionContext> context(loaded.engine->createExecutionContext());
  const auto x = gpu.allocate(32);
  const auto y = gpu.allocate(32);
  const float numbers[4] = {1, 1, 1, 1};
  OK(cuMemcpyHtoD_v2(x, numbers, sizeof numbers));
  CHECK(context->setInputShape("x", dims({1, 4})));
  CHECK(context->setTensorAddress("x", pointer(x)) && context->setTensorAddress("doubled", pointer(y)));
  OK(cuStreamBeginCapture_v2(gpu.stream, CAPTURE_THREAD_LOCAL));
  CHECK(context->enqueueV3(stream_of(gpu)));
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  OK(cuStreamEndCapture(gpu.stream, &graph));
  OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  const auto launched = [&] {
    float result[4] = {};
    OK(cuGraphLaunch(exec, gpu.stream));
    OK(cuMemcpyDtoHAsync_v2(result, y, sizeof result, gpu.stream));
    return result[3];
  };
  CHECK(launched() == 5);
  CHECK(context->setInputShape("x", dims({1, 4})) && launched() == 5);
  CHECK(context->setInputShape("x", dims({2, 4})) && launched() != 5);
  CHECK(context->setInputShape("x", dims({1, 4})) && launched() != 5);
  OK(cuGraphExecDestroy(exec));
  OK(cuGraphDestroy(graph));
}

void memory_for_engines_and_contexts_ends() {
  const Gpu gpu;
  Log log;
  const auto plan = affine_plan(log);
  size_t available = 0;
  size_t total = 0;
  OK(cuMemGetInfo_v2(&available, &total));
  const auto rest = gpu.allocate(available - 512);
  const std::unique_ptr<IRuntime> runtime(createInferRuntime(log));
  const std::unique_ptr<ICudaEngine> engine(runtime->deserializeCudaEngine(plan.data(), plan.size()));
  CHECK(engine && engine->createExecutionContext() == nullptr);
  CHECK(contains(log.take(), "could not be allocated"));
  OK(cuMemFree_v2(rest));
  CHECK(forebay_double_fail("cudaMalloc:1=2") == 0);
  CHECK(runtime->deserializeCudaEngine(plan.data(), plan.size()) == nullptr);
  CHECK(contains(log.take(), "OutOfMemory"));
  CHECK(forebay_double_alive("engine") == 1 && forebay_double_alive("execution_context") == 0);
}

void the_budget_of_streamed_weights_is_bounded() {
  const Gpu gpu;
  Log log;
  const Loaded loaded(log, affine_plan(log, flag(BuilderFlag::kWEIGHT_STREAMING)));
  auto& engine = *loaded.engine;
  CHECK(engine.getStreamableWeightsSize() == 20 && engine.getWeightStreamingBudgetV2() == 20);
  CHECK(engine.setWeightStreamingBudgetV2(8) && engine.getWeightStreamingBudgetV2() == 8);
  const std::unique_ptr<IExecutionContext> context(engine.createExecutionContext());
  CHECK(!engine.setWeightStreamingBudgetV2(9));
  CHECK(contains(log.take(), "execution contexts"));
}

}  // namespace

#define SCENARIO(name) {#name, name}

Scenarios engine_scenarios() {
  return {
      SCENARIO(an_onnx_file_is_built_loaded_and_run_with_dynamic_shapes),
      SCENARIO(a_layer_computes_what_onnx_runtime_computes),
      SCENARIO(shapes_are_held_to_the_profile),
      SCENARIO(an_output_may_tell_its_size_as_it_runs),
      SCENARIO(a_plan_is_refused_for_what_is_wrong_with_it),
      SCENARIO(a_plan_needs_ranges_for_dynamic_inputs),
      SCENARIO(an_engine_can_be_refitted),
      SCENARIO(contexts_can_use_memory_of_the_users),
      SCENARIO(consumed_inputs_are_told_before_outputs_are_done),
      SCENARIO(a_captured_run_is_replayed_with_new_inputs),
      SCENARIO(a_graph_gives_other_bytes_once_its_context_took_other_shapes),
      SCENARIO(memory_for_engines_and_contexts_ends),
      SCENARIO(the_budget_of_streamed_weights_is_bounded),
  };
}
