// CUDA's driver as NVIDIA's header declares it, so that what the double defines has the signatures of the real
// one; and shorter names of captures.
#pragma once

// Of functions that were replaced, the header tells the old ones too, each by its own name.
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
#undef __CUDA_API_VERSION_INTERNAL

#include <cstddef>
#include <cstdint>

constexpr auto CAPTURE_GLOBAL = CU_STREAM_CAPTURE_MODE_GLOBAL;
constexpr auto CAPTURE_THREAD_LOCAL = CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
constexpr auto CAPTURE_RELAXED = CU_STREAM_CAPTURE_MODE_RELAXED;

constexpr auto CAPTURE_NONE = CU_STREAM_CAPTURE_STATUS_NONE;
constexpr auto CAPTURE_ACTIVE = CU_STREAM_CAPTURE_STATUS_ACTIVE;
constexpr auto CAPTURE_INVALIDATED = CU_STREAM_CAPTURE_STATUS_INVALIDATED;
