// Entry points of a library, and what is made with them.
#pragma once

#include <string>
#include <vector>

#include "NvInfer.h"
#include "interface.h"

namespace forebay::FOREBAY_FLAVOUR {

// The functions that a library exports; null where it has none.
struct Entry {
  void* (*create_runtime)(void* logger, std::int32_t version);
  void* (*create_refitter)(void* engine, void* logger, std::int32_t version);
  void* (*create_builder)(void* logger, std::int32_t version);
  void* (*create_parser)(void* network, void* logger, int version);
  void* (*create_parser_refitter)(void* refitter, void* logger, std::int32_t version);
};

std::unique_ptr<Bytes> make_bytes(std::unique_ptr<nvinfer1::IHostMemory> memory);
std::unique_ptr<Engine> make_engine(const Entry& entry, std::unique_ptr<nvinfer1::ICudaEngine> engine);
std::unique_ptr<Context> make_context(const nvinfer1::ICudaEngine& engine,
                                      std::shared_ptr<const std::vector<std::string>> names,
                                      std::unique_ptr<nvinfer1::IExecutionContext> context);
std::unique_ptr<Refitter> make_refitter(const Entry& entry, nvinfer1::ICudaEngine& engine);
std::unique_ptr<Network> make_network(const Entry& entry, rust::Slice<const std::uint8_t> model,
                                      const std::string& path);

}  // namespace forebay::FOREBAY_FLAVOUR
