// How the double says what went wrong: as TensorRT does, one line to the logger and to the error recorder.
// Also where a rule of the test makes a call fail.
#pragma once

#include <string>

#include "NvInfer.h"

namespace infer {

struct Voice {
  nvinfer1::ILogger* logger = nullptr;
  nvinfer1::IErrorRecorder* recorder = nullptr;

  // "ICudaEngine::createExecutionContext: Error Code 2: Internal Error (text)".
  void error(const char* where, nvinfer1::ErrorCode code, const std::string& text) const;

  // Counts the call; true, with an error said, if a rule makes it fail. `where` is "Class::call".
  bool refuses(const char* where) const;
};

// What a rule makes a function return that creates an object: nullptr, or the address that TensorRT was seen
// to return in its place.
template <typename Object>
Object* refused_object(int code) {
  constexpr int NO_OBJECT = 0x228;
  return code == NO_OBJECT ? reinterpret_cast<Object*>(uintptr_t{NO_OBJECT}) : nullptr;
}

// Ends the process: the double was used in a way that TensorRT forbids and doesn't check.
[[noreturn]] void forbidden(const char* text);

// Counts an object of the kind while it lives.
class Alive {
 public:
  explicit Alive(const char* kind);
  ~Alive();
  Alive(const Alive&) = delete;
  Alive& operator=(const Alive&) = delete;

 private:
  const char* kind_;
};

// Marks that a thread is inside an object that only one thread may use at a time.
class Inside {
 public:
  explicit Inside(bool& busy);
  ~Inside();
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  bool& busy_;
};

}  // namespace infer
