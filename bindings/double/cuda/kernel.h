// What the double of TensorRT gets from the double of CUDA instead of the CUDA runtime: a piece of host code
// queued as a kernel on a stream, and device memory that such code can reach. Everything goes through the
// same checks as a copy does.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>

#include "driver.h"

namespace kernel {

// Queues `run` on the stream, named `call` for gates. It runs on the stream's thread; an error that it
// returns is the context's from then on. In a capture it becomes part of the graph and runs at every launch.
CUresult launch(CUstream stream, const char* call, std::function<CUresult()> run);

// Host access to `bytes` bytes at a device address, for code that runs on a stream of `device`: nullptr if
// they aren't all in one live allocation of it. The memory stays readable while the pointer is held, freed or
// not.
std::shared_ptr<std::byte> access(CUdeviceptr address, size_t bytes, CUdevice device);

// The device of the calling thread's context, none without one or after an error that stays.
std::optional<CUdevice> current_device();

// Device memory for an engine: cudaMalloc's and cudaFree's part, counted as the calls "cudaMalloc" and
// "cudaFree". 0 when there isn't enough.
CUdeviceptr allocate(size_t bytes);
void free(CUdeviceptr address);

// Writes device memory, at once: weights, as an engine is made.
CUresult write(CUdeviceptr to, const void* from, size_t bytes);

// What an engine's kernels are in: nothing where they are host code, in the
// stand-in a standin::Code.
std::shared_ptr<void> code();

// Has the device's context no error that stays?
bool healthy(CUdevice device);

// What the device is, as a plan records it: 10 times major plus minor, 86 for 8.6.
int compute_capability(CUdevice device);

// Is the stream being captured?
bool capturing(CUstream stream);

// The device that the stream belongs to, none for a stream that doesn't exist.
std::optional<CUdevice> device_of(CUstream stream);

// Records the event on the stream, as cuEventRecord does, without counting as a call of its own.
CUresult record(CUevent event, CUstream stream);

}  // namespace kernel
