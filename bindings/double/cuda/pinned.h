// Pinned host memory: two views of the same pages and who needs which page.
#pragma once

#include "state.h"

namespace device {

struct Pinned {
  Pinned(std::byte* for_host, std::byte* for_work, size_t size, size_t page_count)
      : host(for_host), work(for_work), bytes(size), pages(page_count) {}
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;
  ~Pinned();

  // The host's view is gone for good: the memory was freed.
  void close();

  // `by` more pieces of work need the bytes.
  void change(const Touch& touch, int by);

  std::byte* host;
  std::byte* work;
  size_t bytes;

 private:
  struct Users {
    int readers = 0;
    int writers = 0;
  };
  std::vector<Users> pages;
};

// The pinned memory that an address lies in, nullptr for memory that isn't pinned. Under the state's lock.
std::shared_ptr<Pinned> find_pinned(const void* address);

}  // namespace device
