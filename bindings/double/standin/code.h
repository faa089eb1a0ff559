// The stand-in's kernels on a GPU: what kernel::code leads to here.
#pragma once

#include <array>

#include "driver.h"

namespace standin {

constexpr std::array<const char*, 5> NAMES = {"forebay_add", "forebay_multiply", "forebay_relu",
                                              "forebay_matrix_multiply", "forebay_fault"};
enum Kernel : size_t { add, multiply, relu, matrix_multiply, fault };

struct Code {
  CUresult error = CUDA_SUCCESS;  // why there are none
  CUmodule module = nullptr;
  std::array<CUfunction, NAMES.size()> functions{};
};

}  // namespace standin
