// Claims about the double of CUDA's driver.
#include <cstring>
#include <thread>

#include "test.h"

namespace {

void copies_and_fills_are_done_in_order() {
  const Gpu gpu;
  const auto a = gpu.allocate(16);
  const auto b = gpu.allocate(16);
  auto* const from = gpu.pinned<int>(4);
  auto* const to = gpu.pinned<int>(4);
  for (int index = 0; index < 4; ++index) from[index] = index + 1;
  OK(cuMemcpyHtoDAsync_v2(a, from, 16, gpu.stream));
  OK(cuMemcpyDtoDAsync_v2(b, a, 16, gpu.stream));
  OK(cuMemsetD8Async(b, 0, 4, gpu.stream));
  OK(cuMemcpyDtoHAsync_v2(to, b, 16, gpu.stream));
  OK(cuStreamSynchronize(gpu.stream));
  CHECK(to[0] == 0 && to[1] == 2 && to[2] == 3 && to[3] == 4);
  OK(cuMemFree_v2(a));
  OK(cuMemFree_v2(b));
  OK(cuMemFreeHost(from));
  OK(cuMemFreeHost(to));
}

void an_event_holds_another_stream() {
  const Gpu gpu;
  CUstream other = nullptr;
  CUevent event = nullptr;
  OK(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING));
  OK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
  const auto memory = gpu.allocate(4);
  auto* const result = gpu.pinned<unsigned>(1);
  forebay_double_close_gate("cuMemsetD8Async");
  OK(cuMemsetD8Async(memory, 0x11, 4, gpu.stream));
  OK(cuEventRecord(event, gpu.stream));
  OK(cuStreamWaitEvent(other, event, 0));
  OK(cuMemcpyDtoHAsync_v2(result, memory, 4, other));
  CHECK(forebay_double_await_held("cuMemsetD8Async", 1, 10000) == 1);
  CHECK_CUDA(CUDA_ERROR_NOT_READY, cuEventQuery(event));
  CHECK_CUDA(CUDA_ERROR_NOT_READY, cuStreamQuery(other));
  forebay_double_open_gate("cuMemsetD8Async");
  OK(cuStreamSynchronize(other));
  OK(cuEventSynchronize(event));
  CHECK(*result == 0x11111111);
  OK(cuStreamDestroy_v2(other));
  OK(cuEventDestroy_v2(event));
}

void timed_events_tell_time() {
  const Gpu gpu;
  CUevent start = nullptr;
  CUevent end = nullptr;
  OK(cuEventCreate(&start, 0));
  OK(cuEventCreate(&end, 0));
  OK(cuEventRecord(start, gpu.stream));
  OK(cuEventRecord(end, gpu.stream));
  OK(cuEventSynchronize(end));
  float milliseconds = -1.0F;
  OK(cuEventElapsedTime(&milliseconds, start, end));
  CHECK(milliseconds >= 0.0F);
}

void unpinned_copies_are_over_when_the_call_returns() {
  const Gpu gpu;
  const auto memory = gpu.allocate(4);
  int value = 7;
  OK(cuMemcpyHtoDAsync_v2(memory, &value, 4, gpu.stream));
  value = 0;
  OK(cuMemcpyDtoHAsync_v2(&value, memory, 4, gpu.stream));
  CHECK(value == 7);
}

void memory_ends() {
  const Gpu gpu;
  size_t available = 0;
  size_t total = 0;
  OK(cuMemGetInfo_v2(&available, &total));
  CUdeviceptr address = 0;
  CHECK_CUDA(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&address, available + 1));
  const auto half = gpu.allocate(total / 2);
  OK(cuMemGetInfo_v2(&available, &total));
  CHECK(available == total - total / 2);
  OK(cuMemFree_v2(half));
  CHECK_CUDA(CUDA_ERROR_INVALID_VALUE, cuMemFree_v2(half));
}

void an_error_stays_and_what_waits_goes_on() {
  const Gpu gpu;
  const auto memory = gpu.allocate(16);
  CUevent event = nullptr;
  OK(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
  forebay_double_close_gate("cuMemsetD8Async");
  OK(cuMemsetD8Async(memory, 0, 17, gpu.stream));
  OK(cuEventRecord(event, gpu.stream));
  forebay_double_open_gate("cuMemsetD8Async");
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(gpu.stream));
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_ADDRESS, cuEventSynchronize(event));
  CUdeviceptr more = 0;
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemAlloc_v2(&more, 16));
  // What is given back is given back all the same.
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemFree_v2(memory));
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_ADDRESS, cuEventDestroy_v2(event));
  CHECK(forebay_double_alive("device_memory") == 0 && forebay_double_alive("event") == 0);
}

void devices_are_apart() {
  const Gpu other(1);
  const auto there = other.allocate(16);
  const Gpu gpu(0);
  const auto here = gpu.allocate(16);
  CHECK_CUDA(CUDA_ERROR_INVALID_HANDLE, cuMemsetD8Async(here, 0, 16, other.stream));
  OK(cuMemcpyDtoDAsync_v2(here, there, 16, gpu.stream));
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(gpu.stream));
  OK(cuCtxSetCurrent(other.context));
  OK(cuStreamSynchronize(other.stream));
}

void rules_make_calls_fail() {
  const Gpu gpu;
  CUdeviceptr address = 0;
  CHECK(forebay_double_fail("cuMemAlloc_v2:2=2,cuEventCreate:*=201") == 0);
  CUevent event = nullptr;
  OK(cuMemAlloc_v2(&address, 16));
  CHECK_CUDA(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc_v2(&address, 16));
  OK(cuMemAlloc_v2(&address, 16));
  CHECK_CUDA(CUDA_ERROR_INVALID_CONTEXT, cuEventCreate(&event, 0));
  CHECK_CUDA(CUDA_ERROR_INVALID_CONTEXT, cuEventCreate(&event, 0));
  CHECK(forebay_double_count("cuMemAlloc_v2") == 3 && forebay_double_count("cuEventCreate") == 2);
  for (const auto* wrong : {"x", ":1", "x:0", "x:y", "x:1=", "x:1=y"})
    CHECK(forebay_double_fail(wrong) == -1);
  // A kernel's fault stays with the context.
  CHECK(forebay_double_fail("cuStreamSynchronize:1=700") == 0);
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(gpu.stream));
  CHECK_CUDA(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemAlloc_v2(&address, 16));
  forebay_double_reset();
  OK(cuMemAlloc_v2(&address, 16));
}

void host_functions_run_on_the_stream() {
  const Gpu gpu;
  std::thread::id thread;
  const auto note = [](void* to) { *static_cast<std::thread::id*>(to) = std::this_thread::get_id(); };
  OK(cuLaunchHostFunc(gpu.stream, note, &thread));
  OK(cuStreamSynchronize(gpu.stream));
  CHECK(thread != std::thread::id() && thread != std::this_thread::get_id());
}

void many_threads_use_many_streams() {
  const Gpu gpu;
  std::vector<std::thread> threads;
  for (int number = 0; number < 8; ++number) {
    threads.emplace_back([&gpu, number] {
      OK(cuCtxSetCurrent(gpu.context));
      CUstream stream = nullptr;
      OK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
      for (int round = 0; round < 50; ++round) {
        const auto memory = gpu.allocate(64);
        auto* const host = gpu.pinned<unsigned char>(64);
        OK(cuMemsetD8Async(memory, static_cast<unsigned char>(number), 64, stream));
        OK(cuMemcpyDtoHAsync_v2(host, memory, 64, stream));
        OK(cuStreamSynchronize(stream));
        CHECK(host[0] == number && host[63] == number);
        OK(cuMemFreeHost(host));
        OK(cuMemFree_v2(memory));
      }
      OK(cuStreamDestroy_v2(stream));
    });
  }
  for (auto& thread : threads) thread.join();
  CHECK(forebay_double_alive("device_memory") == 0 && forebay_double_alive("stream") == 1);
}

}  // namespace

#define SCENARIO(name) {#name, name}

Scenarios cuda_scenarios() {
  return {
      SCENARIO(copies_and_fills_are_done_in_order),
      SCENARIO(an_event_holds_another_stream),
      SCENARIO(timed_events_tell_time),
      SCENARIO(unpinned_copies_are_over_when_the_call_returns),
      SCENARIO(memory_ends),
      SCENARIO(an_error_stays_and_what_waits_goes_on),
      SCENARIO(devices_are_apart),
      SCENARIO(rules_make_calls_fail),
      SCENARIO(host_functions_run_on_the_stream),
      SCENARIO(many_threads_use_many_streams),
  };
}
