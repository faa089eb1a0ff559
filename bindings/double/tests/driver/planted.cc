// Planted bugs. Each scenario does what must not be done; the test expects the signal, or the scenario the
// error, by which the double catches it.
#include <thread>

#include "engine.h"

using namespace nvinfer1;

namespace {

// The test looks for this, so that an earlier end isn't taken for the catch.
void now() { std::fputs("the bug comes now\n", stderr); }

// Reads so that the compiler can't leave it out.
void touch(const void* address) {
  now();
  (void)*static_cast<const volatile char*>(address);
}

void the_host_reads_a_device_address() {
  const Gpu gpu;
  touch(pointer(gpu.allocate(16)));
}

void the_host_reads_freed_pinned_memory() {
  const Gpu gpu;
  auto* const memory = gpu.pinned<char>(16);
  OK(cuMemFreeHost(memory));
  touch(memory);
}

void the_host_reads_a_copy_that_is_not_done() {
  const Gpu gpu;
  const auto from = gpu.allocate(16);
  auto* const to = gpu.pinned<char>(16);
  forebay_double_close_gate("cuMemcpyDtoHAsync_v2");
  OK(cuMemcpyDtoHAsync_v2(to, from, 16, gpu.stream));
  touch(to);
}

void the_host_writes_what_is_still_to_be_copied() {
  const Gpu gpu;
  const auto to = gpu.allocate(16);
  auto* const from = gpu.pinned<char>(16);
  forebay_double_close_gate("cuMemcpyHtoDAsync_v2");
  OK(cuMemcpyHtoDAsync_v2(to, from, 16, gpu.stream));
  now();
  *const_cast<volatile char*>(from) = 1;
}

// Queues `work` behind a closed gate, breaks something, and expects the error as the work is done.
void fails_later(const Gpu& gpu, const char* gate, const std::function<void()>& work,
                 const std::function<void()>& breaks) {
  forebay_double_close_gate(gate);
  work();
  CHECK(forebay_double_await_held(gate, 1, 10000) == 1);
  breaks();
  forebay_double_open_gate(gate);
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(gpu.stream));
}

void the_source_of_a_copy_is_freed() {
  const Gpu gpu;
  const auto from = gpu.allocate(16);
  auto* const to = gpu.pinned<char>(16);
  fails_later(
      gpu, "cuMemcpyDtoHAsync_v2", [&] { OK(cuMemcpyDtoHAsync_v2(to, from, 16, gpu.stream)); },
      [&] { OK(cuMemFree_v2(from)); });
}

void the_pinned_source_of_a_copy_is_freed() {
  const Gpu gpu;
  const auto to = gpu.allocate(16);
  auto* const from = gpu.pinned<char>(16);
  fails_later(
      gpu, "cuMemcpyHtoDAsync_v2", [&] { OK(cuMemcpyHtoDAsync_v2(to, from, 16, gpu.stream)); },
      [&] { OK(cuMemFreeHost(from)); });
}

void the_target_of_a_copy_is_too_small() {
  const Gpu gpu;
  const auto from = gpu.allocate(17);
  const auto to = gpu.allocate(16);
  OK(cuMemcpyDtoDAsync_v2(to, from, 17, gpu.stream));
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(gpu.stream));
}

// An engine and a context of the affine model, with one row of input and an output of `bytes` bytes.
struct Ready {
  Ready(const Gpu& gpu, size_t bytes)
      : loaded(log, build(log, {affine_model(), {{1, 8}}})),
        context(loaded.engine->createExecutionContext()),
        x(gpu.allocate(16)),
        y(gpu.allocate(bytes)) {
    CHECK(context->setInputShape("x", dims({1, 4})));
    CHECK(context->setTensorAddress("x", pointer(x)) && context->setTensorAddress("doubled", pointer(y)));
  }

  Log log;
  Loaded loaded;
  std::unique_ptr<IExecutionContext> context;
  CUdeviceptr x;
  CUdeviceptr y;
};

void an_output_is_too_small() {
  const Gpu gpu;
  const Ready ready(gpu, 15);
  CHECK(ready.context->enqueueV3(stream_of(gpu)));
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(gpu.stream));
}

void an_output_is_freed_before_the_run() {
  const Gpu gpu;
  const Ready ready(gpu, 16);
  fails_later(
      gpu, "enqueueV3", [&] { CHECK(ready.context->enqueueV3(stream_of(gpu))); },
      [&] { OK(cuMemFree_v2(ready.y)); });
}

void an_input_is_freed_before_the_run() {
  const Gpu gpu;
  const Ready ready(gpu, 16);
  fails_later(
      gpu, "enqueueV3.inputs", [&] { CHECK(ready.context->enqueueV3(stream_of(gpu))); },
      [&] { OK(cuMemFree_v2(ready.x)); });
}

void a_context_is_destroyed_as_it_runs() {
  const Gpu gpu;
  Ready ready(gpu, 16);
  forebay_double_close_gate("enqueueV3");
  CHECK(ready.context->enqueueV3(stream_of(gpu)));
  now();
  ready.context.reset();
}

void an_engine_is_destroyed_before_its_context() {
  const Gpu gpu;
  Ready ready(gpu, 16);
  now();
  ready.loaded.engine.reset();
}

// Is asked for the size of an output, and lets a second thread use the context meanwhile.
class Intruder final : public IOutputAllocator {
 public:
  explicit Intruder(IExecutionContext& context) : context_(context) {}
  void* reallocateOutputAsync(const char*, void*, uint64_t, uint64_t, cudaStream_t) override {
    std::thread([this] { context_.getTensorShape("x"); }).join();
    return nullptr;
  }
  void notifyShape(const char*, const Dims&) noexcept override {}

 private:
  IExecutionContext& context_;
};

void two_threads_use_one_context() {
  const Gpu gpu;
  const Ready ready(gpu, 16);
  Intruder intruder(*ready.context);
  CHECK(ready.context->setOutputAllocator("doubled", &intruder));
  now();
  ready.context->enqueueV3(stream_of(gpu));
}

void two_runs_share_scratch_memory() {
  const Gpu gpu;
  CUstream other = nullptr;
  OK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
  Log log;
  const Loaded loaded(log, build(log, {affine_model(), {{1, 8}}}));
  const auto size = loaded.engine->getDeviceMemorySizeV2();
  const auto memory = gpu.allocate(static_cast<size_t>(size));
  const auto x = gpu.allocate(16);
  std::unique_ptr<IExecutionContext> contexts[2];
  for (auto& context : contexts) {
    context.reset(loaded.engine->createExecutionContext(ExecutionContextAllocationStrategy::kUSER_MANAGED));
    context->setDeviceMemoryV2(pointer(memory), size);
    CHECK(context->setInputShape("x", dims({1, 4})));
    CHECK(context->setTensorAddress("x", pointer(x)) && context->setTensorAddress("doubled", pointer(x)));
  }
  forebay_double_close_gate("enqueueV3");
  CHECK(contexts[0]->enqueueV3(stream_of(gpu)) && contexts[1]->enqueueV3(other));
  CHECK(forebay_double_await_held("enqueueV3", 2, 10000) == 1);
  forebay_double_open_gate("enqueueV3");
  cuStreamSynchronize(other);
  CHECK_CUDA(CUDA_ERROR_LAUNCH_FAILED, cuStreamSynchronize(gpu.stream));
}

void what_is_not_given_back_is_told() {
  Log log;
  Loaded* leaked = nullptr;
  {
    const Gpu gpu;
    gpu.allocate(16);
    leaked = new Loaded(log, build(log, {affine_model(), {{1, 8}}}));
  }
  // The engine's weights are device memory, too.
  CHECK(forebay_double_alive("device_memory") == 2 && forebay_double_alive("engine") == 1);
  CHECK(forebay_double_alive("builder") == 0 && forebay_double_alive("stream") == 0);
  delete leaked;
  CHECK(forebay_double_alive(nullptr) == 1);
}

}  // namespace

#define SCENARIO(name) {#name, name}

Scenarios planted_scenarios() {
  return {
      SCENARIO(the_host_reads_a_device_address),
      SCENARIO(the_host_reads_freed_pinned_memory),
      SCENARIO(the_host_reads_a_copy_that_is_not_done),
      SCENARIO(the_host_writes_what_is_still_to_be_copied),
      SCENARIO(the_source_of_a_copy_is_freed),
      SCENARIO(the_pinned_source_of_a_copy_is_freed),
      SCENARIO(the_target_of_a_copy_is_too_small),
      SCENARIO(an_output_is_too_small),
      SCENARIO(an_output_is_freed_before_the_run),
      SCENARIO(an_input_is_freed_before_the_run),
      SCENARIO(a_context_is_destroyed_as_it_runs),
      SCENARIO(an_engine_is_destroyed_before_its_context),
      SCENARIO(two_threads_use_one_context),
      SCENARIO(two_runs_share_scratch_memory),
      SCENARIO(what_is_not_given_back_is_told),
  };
}
