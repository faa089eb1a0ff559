// Everything that the double of CUDA knows, behind one lock: devices, contexts, memory, streams, events,
// graphs. Host code enters through the driver's functions (device, memory, copy, stream, event, capture); a
// thread a stream does the work.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "driver.h"

namespace device {

struct Stream;
struct Pinned;

// A context and all that stays true for it. The first error of its work stays until the context is gone: it
// is reset, or every reference is released, of which TensorRT's CUDA runtime keeps one once it was used.
struct Context {
  CUdevice device = 0;
  int retained = 0;
  bool used_by_runtime = false;
  int resets = 0;
  CUresult error = CUDA_SUCCESS;
  std::shared_ptr<Stream> default_stream;
};

struct Device {
  Context primary;
  size_t total = 0;
  size_t used = 0;
  int capability = 0;
};

// A point in a stream's order: an event's record, the end of a graph launch.
struct Marker {
  bool done = false;
  std::chrono::steady_clock::time_point at;
};

// Pinned memory that queued work will read or write. The host's view of it is taken away until the work is
// done.
struct Touch {
  std::shared_ptr<Pinned> pinned;
  size_t offset = 0;
  size_t bytes = 0;
  bool writes = false;
};

// One piece of work of a stream. `waits` comes before `run`, `marks` after it.
struct Work {
  const char* call = "";
  std::function<CUresult()> run;
  std::shared_ptr<Marker> waits;
  std::shared_ptr<Marker> marks;
  std::vector<Touch> touches;
};

// A capture: from one stream, joined by others through events. The work is kept in the order of the calls,
// which is an order that the dependencies allow.
struct Capture {
  CUstreamCaptureMode mode = CAPTURE_GLOBAL;
  std::thread::id thread;
  Stream* origin = nullptr;
  std::vector<Stream*> forked;  // with work that the origin doesn't wait for yet
  std::vector<Work> work;
  bool invalid = false;
};

struct Stream {
  Context* context = nullptr;
  int resets = 0;  // of the context when it was made: its work is none of the context's after another
  bool is_default = false;
  std::deque<Work> queue;
  uint64_t queued = 0;
  uint64_t finished = 0;
  bool destroyed = false;
  std::shared_ptr<Capture> capture;
};

struct Event {
  Context* context = nullptr;
  bool timing = true;
  std::shared_ptr<Marker> last;
  std::weak_ptr<Capture> capture;  // recorded in it
  Stream* captured_on = nullptr;
};

struct Graph {
  std::vector<Work> work;
  std::shared_ptr<Marker> last_launch;  // of an executable graph: launches run one after another
};

// One allocation on a device. The host gets its address, at which nothing can be touched; the bytes are
// elsewhere.
struct Memory {
  size_t bytes = 0;
  CUdevice device = 0;
  bool of_runtime = false;  // TensorRT's
  std::shared_ptr<std::byte> data;
};

// Objects behind opaque handles. A handle is never given twice, so one that was destroyed is always found
// out.
template <typename Handle, typename Object>
class Handles {
 public:
  Handle add(std::shared_ptr<Object> object) {
    const auto handle = reinterpret_cast<Handle>(NO_ADDRESS + 16 * ++last_);
    objects_[handle] = std::move(object);
    return handle;
  }
  std::shared_ptr<Object> find(Handle handle) const {
    const auto found = objects_.find(handle);
    return found == objects_.end() ? nullptr : found->second;
  }
  std::shared_ptr<Object> take(Handle handle) {
    auto object = find(handle);
    objects_.erase(handle);
    return object;
  }
  // Those that are of the context, taken.
  std::vector<std::shared_ptr<Object>> take_all(const void* context) {
    std::vector<std::shared_ptr<Object>> taken;
    for (auto next = objects_.begin(); next != objects_.end();) {
      if (next->second->context != context) {
        ++next;
        continue;
      }
      taken.push_back(next->second);
      next = objects_.erase(next);
    }
    return taken;
  }
  std::vector<std::shared_ptr<Object>> all() const {
    std::vector<std::shared_ptr<Object>> objects;
    for (const auto& [handle, object] : objects_) objects.push_back(object);
    return objects;
  }

 private:
  // No address of a process on x86-64 or AArch64: a host that follows a handle faults.
  static constexpr uintptr_t NO_ADDRESS = 0x00FB'0000'0000'0000;
  uintptr_t last_ = 0;
  std::map<Handle, std::shared_ptr<Object>> objects_;
};

struct State {
  std::mutex lock;
  std::condition_variable changed;  // a piece of work came or was done
  bool initialised = false;
  std::vector<Device> devices;
  std::map<CUdeviceptr, Memory> memory;
  std::map<uintptr_t, std::shared_ptr<Pinned>> pinned;
  std::vector<std::shared_ptr<Capture>> captures;
  Handles<CUstream, Stream> streams;
  Handles<CUevent, Event> events;
  Handles<CUgraph, Graph> graphs;
  Handles<CUgraphExec, Graph> execs;
};

using Lock = std::unique_lock<std::mutex>;

// Never destroyed: the streams' threads may outlive main.
State& state();

// The context that the calling thread set, nullptr for none.
Context*& current();

// Begins a driver's function: counts it and returns the error that a rule gives it. An error of the kind that
// a kernel's fault gives stays with the context.
CUresult begin(const char* call);

// The calling thread's context, or why there is no use of it: none set, released, an earlier error.
CUresult usable(Context*& context);

// The error of a potentially unsafe call while a capture forbids it; such a call spoils that capture.
CUresult forbidden_by_capture();

// The capture is over for every stream in it.
void leave_capture(std::shared_ptr<Capture> capture);

// The stream of a handle in the context, its default stream for none; nullptr for a stream that doesn't
// exist.
std::shared_ptr<Stream> find_stream(CUstream handle, Context& context);

// A stream with its thread.
std::shared_ptr<Stream> make_stream(Context& context);

// Queues the work, or puts it into the stream's capture.
CUresult push(Stream& stream, Work work);

// Waits until all that is queued now is done. Returns the context's error.
CUresult drain(Lock& lock, Stream& stream);

// Records the event at the stream's end, or as a point of its capture.
CUresult record(Event& event, Stream& stream);

// Host access to device memory, under the lock: see kernel::access.
std::shared_ptr<std::byte> find_memory(CUdeviceptr address, size_t bytes, CUdevice device);

// Takes the memory away; an address that is not the begin of a live allocation is refused.
CUresult release_memory(CUdeviceptr address);

// A new allocation on the context's device, 0 when there isn't enough.
CUdeviceptr reserve_memory(Context& context, size_t bytes);

// All that is in the context goes: memory, streams, events. What TensorRT still has ends the process, for it
// would use it.
void clear(Context& context);

// Work begins or ends to need pinned memory.
void hold(const Touch& touch);
void let_go(const Touch& touch);

// Contexts forget their errors.
void heal();

}  // namespace device

// First line of a driver's function.
#define FOREBAY_BEGIN(call) \
  if (CUresult const refused = device::begin(call)) return refused
