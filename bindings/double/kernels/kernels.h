// What the stand-in's kernels compute, an element a thread. The same code runs on a GPU, compiled by nvcc
// (kernels.cu), and on the double of CUDA, compiled with it.
#pragma once

#include <cstddef>
#include <cstdint>

#ifdef __CUDACC__
#define FOREBAY_KERNEL __device__ inline
#else
#define FOREBAY_KERNEL inline
#endif

namespace kernels {

constexpr uint32_t MOST_AXES = 8;  // TensorRT's own limit

// A kernel's one parameter: 32-bit floats in memory of the GPU, and how an element finds its operands.
struct Arguments {
  const float* left;
  const float* right;
  float* result;
  uint64_t left_bytes;
  uint64_t right_bytes;
  uint64_t count;  // elements of the result
  // Of an elementwise result: its dimensions, and how far apart an operand's elements are, 0 where the
  // operand is spread out.
  uint32_t rank;
  uint64_t dims[MOST_AXES];
  uint64_t left_strides[MOST_AXES];
  uint64_t right_strides[MOST_AXES];
  // Of a matrix result.
  uint64_t inner;
  uint64_t columns;
};

struct Places {
  uint64_t left;
  uint64_t right;
};

// Where the operands of an element are.
FOREBAY_KERNEL Places places(const Arguments& all, uint64_t index) {
  Places found{0, 0};
  for (uint32_t axis = all.rank; axis-- > 0;) {
    const auto place = index % all.dims[axis];
    index /= all.dims[axis];
    found.left += place * all.left_strides[axis];
    found.right += place * all.right_strides[axis];
  }
  return found;
}

FOREBAY_KERNEL void add(const Arguments& all, uint64_t index) {
  const auto at = places(all, index);
  all.result[index] = all.left[at.left] + all.right[at.right];
}

FOREBAY_KERNEL void multiply(const Arguments& all, uint64_t index) {
  const auto at = places(all, index);
  all.result[index] = all.left[at.left] * all.right[at.right];
}

FOREBAY_KERNEL void relu(const Arguments& all, uint64_t index) {
  const auto value = all.left[index];
  all.result[index] = value < 0.0F ? 0.0F : value;
}

FOREBAY_KERNEL void matrix_multiply(const Arguments& all, uint64_t index) {
  const auto row = index / all.columns;
  const auto column = index % all.columns;
  float sum = 0.0F;
  for (uint64_t step = 0; step < all.inner; ++step) {
    sum += all.left[row * all.inner + step] * all.right[step * all.columns + column];
  }
  all.result[index] = sum;
}

}  // namespace kernels
