// Claims about capture and graphs.
#include <thread>

#include "test.h"

namespace {

// Ends the capture and gives the graph, ready to run.
CUgraphExec end(CUstream stream) {
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  OK(cuStreamEndCapture(stream, &graph));
  OK(cuGraphInstantiateWithFlags(&exec, graph, 0));
  OK(cuGraphDestroy(graph));
  return exec;
}

void a_graph_does_its_work_at_every_launch_and_not_before() {
  const Gpu gpu;
  const auto memory = gpu.allocate(4);
  auto* const from = gpu.pinned<int>(1);
  auto* const to = gpu.pinned<int>(1);
  *to = 0;
  OK(cuStreamBeginCapture_v2(gpu.stream, CAPTURE_THREAD_LOCAL));
  OK(cuMemcpyHtoDAsync_v2(memory, from, 4, gpu.stream));
  OK(cuMemcpyDtoHAsync_v2(to, memory, 4, gpu.stream));
  const auto exec = end(gpu.stream);
  OK(cuStreamSynchronize(gpu.stream));
  CHECK(*to == 0);
  for (int value = 5; value < 8; ++value) {
    *from = value;
    OK(cuGraphLaunch(exec, gpu.stream));
    OK(cuStreamSynchronize(gpu.stream));
    CHECK(*to == value);
  }
  CHECK(forebay_double_count("cuGraphLaunch") == 3 && forebay_double_count("cuMemcpyHtoDAsync_v2") == 1);
  OK(cuMemFree_v2(memory));
  OK(cuGraphLaunch(exec, gpu.stream));
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(gpu.stream));
  OK(cuGraphExecDestroy(exec));
}

void a_stream_joins_a_capture_and_must_be_joined() {
  const Gpu gpu;
  CUstream other = nullptr;
  CUevent fork = nullptr;
  CUevent join = nullptr;
  OK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
  OK(cuEventCreate(&fork, CU_EVENT_DISABLE_TIMING));
  OK(cuEventCreate(&join, CU_EVENT_DISABLE_TIMING));
  const auto memory = gpu.allocate(4);
  for (const bool joined : {true, false}) {
    OK(cuStreamBeginCapture_v2(gpu.stream, CAPTURE_THREAD_LOCAL));
    OK(cuEventRecord(fork, gpu.stream));
    OK(cuStreamWaitEvent(other, fork, 0));
    OK(cuMemsetD8Async(memory, 1, 4, other));
    OK(cuEventRecord(join, other));
    if (joined) OK(cuStreamWaitEvent(gpu.stream, join, 0));
    CUgraph graph = nullptr;
    CHECK_CUDA(joined ? CUDA_SUCCESS : CUDA_ERROR_STREAM_CAPTURE_UNJOINED,
               cuStreamEndCapture(gpu.stream, &graph));
    CUstreamCaptureStatus status = CAPTURE_ACTIVE;
    OK(cuStreamIsCapturing(other, &status));
    CHECK(status == CAPTURE_NONE);
  }
}

// Begins a capture, makes one call that gives `error`, and finds the capture spoilt.
void spoils(const Gpu& gpu, CUresult error, const std::function<CUresult()>& call) {
  OK(cuStreamBeginCapture_v2(gpu.stream, CAPTURE_THREAD_LOCAL));
  CHECK_CUDA(error, call());
  CUstreamCaptureStatus status = CAPTURE_NONE;
  OK(cuStreamIsCapturing(gpu.stream, &status));
  CHECK(status == CAPTURE_INVALIDATED);
  CUgraph graph = nullptr;
  CHECK_CUDA(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(gpu.stream, &graph));
  CHECK(graph == nullptr);
  OK(cuStreamSynchronize(gpu.stream));
}

void what_can_not_be_captured_spoils_the_capture() {
  const Gpu gpu;
  CUevent before = nullptr;
  CUevent event = nullptr;
  OK(cuEventCreate(&before, 0));
  OK(cuEventCreate(&event, 0));
  OK(cuEventRecord(before, gpu.stream));
  OK(cuEventSynchronize(before));
  const auto memory = gpu.allocate(4);
  CUdeviceptr more = 0;
  void* pinned = nullptr;
  int value = 0;
  constexpr auto unsupported = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  spoils(gpu, unsupported, [&] { return cuMemAlloc_v2(&more, 4); });
  spoils(gpu, unsupported, [&] { return cuMemFree_v2(memory); });
  spoils(gpu, unsupported, [&] { return cuMemHostAlloc(&pinned, 4, 0); });
  spoils(gpu, unsupported, [&] { return cuStreamSynchronize(gpu.stream); });
  spoils(gpu, unsupported, [&] { return cuStreamQuery(gpu.stream); });
  spoils(gpu, unsupported, [&] { return cuCtxSynchronize(); });
  spoils(gpu, unsupported, [&] { return cuEventQuery(before); });
  spoils(gpu, unsupported, [&] { return cuMemcpyHtoD_v2(memory, &value, 4); });
  spoils(gpu, unsupported, [&] { return cuMemcpyHtoDAsync_v2(memory, &value, 4, gpu.stream); });
  spoils(gpu, CUDA_ERROR_STREAM_CAPTURE_ISOLATION, [&] { return cuStreamWaitEvent(gpu.stream, before, 0); });
  spoils(gpu, CUDA_ERROR_CAPTURED_EVENT, [&] {
    OK(cuEventRecord(event, gpu.stream));
    return cuEventSynchronize(event);
  });
}

void only_a_global_capture_binds_other_threads() {
  const Gpu gpu;
  for (const auto mode : {CAPTURE_GLOBAL, CAPTURE_THREAD_LOCAL, CAPTURE_RELAXED}) {
    const bool forbidden = mode == CAPTURE_GLOBAL;
    OK(cuStreamBeginCapture_v2(gpu.stream, mode));
    std::thread([&] {
      OK(cuCtxSetCurrent(gpu.context));
      CUdeviceptr memory = 0;
      CHECK_CUDA(forbidden ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS, cuMemAlloc_v2(&memory, 4));
    }).join();
    CUgraph graph = nullptr;
    CHECK_CUDA(forbidden ? CUDA_ERROR_STREAM_CAPTURE_INVALIDATED : CUDA_SUCCESS,
               cuStreamEndCapture(gpu.stream, &graph));
  }
}

void a_capture_ends_where_it_began() {
  const Gpu gpu;
  CUgraph graph = nullptr;
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_STATE, cuStreamEndCapture(gpu.stream, &graph));
  OK(cuStreamBeginCapture_v2(gpu.stream, CAPTURE_THREAD_LOCAL));
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_STATE, cuStreamBeginCapture_v2(gpu.stream, CAPTURE_THREAD_LOCAL));
  std::thread([&] {
    OK(cuCtxSetCurrent(gpu.context));
    CHECK_CUDA(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, cuStreamEndCapture(gpu.stream, &graph));
  }).join();
  OK(cuStreamEndCapture(gpu.stream, &graph));
  CHECK_CUDA(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamBeginCapture_v2(nullptr, CAPTURE_THREAD_LOCAL));
}

}  // namespace

#define SCENARIO(name) {#name, name}

Scenarios capture_scenarios() {
  return {
      SCENARIO(a_graph_does_its_work_at_every_launch_and_not_before),
      SCENARIO(a_stream_joins_a_capture_and_must_be_joined),
      SCENARIO(what_can_not_be_captured_spoils_the_capture),
      SCENARIO(only_a_global_capture_binds_other_threads),
      SCENARIO(a_capture_ends_where_it_began),
  };
}
