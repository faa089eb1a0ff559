// How a test steers the double and asks it what happened: faults, counts, gates, and what is still alive.
// Both libraries name their calls here, so one rule list and one count serve CUDA's and TensorRT's. The
// `extern "C"` half is what a test loads by name; the namespace is for the double's own code.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
// Replaces the rules by those of `rules`: "call:which=code" joined by commas. `call` is a function's or
// method's name, or "*"; `which` counts from 1 among the calls made since the rule was set, or is "*"; `code`
// is the error that the call gives (a CUresult or an nvinfer1::ErrorCode; for a function that creates an
// object, 256 or more is the pointer that it returns; 600 has TensorRT say its error on another thread), or,
// below 0, a signal that the process gets. 0 if the rules were understood, -1 if not; then the old ones stay.
// The environment variable FOREBAY_DOUBLE_FAIL holds the first rules; FOREBAY_DOUBLE_RULES names a file whose
// rules replace those before whenever it says something new.
int forebay_double_fail(const char* rules);

// How often a call was made since the last reset, refused ones included.
uint64_t forebay_double_count(const char* call);

// Every call made since the last reset, "name count" a line. Writes at most `capacity` bytes with the final
// 0, and returns the bytes that all of it needs.
size_t forebay_double_counts(char* text, size_t capacity);

// How many objects of a kind are alive (nullptr: of all kinds). Kinds: see forebay_double_alive_list.
int64_t forebay_double_alive(const char* kind);

// What is alive, "kind count" a line, as forebay_double_counts.
size_t forebay_double_alive_list(char* text, size_t capacity);

// Closes the gate of a call: work that the call queued is held when its turn on its stream comes.
void forebay_double_close_gate(const char* call);

// Opens it, nullptr opens all.
void forebay_double_open_gate(const char* call);

// Waits until `held` pieces of work stand before the gate. 0 after `milliseconds` without.
int forebay_double_await_held(const char* call, int held, int milliseconds);

// No rules, no counts, open gates, contexts without error. What is alive stays alive.
void forebay_double_reset(void);
}

namespace control {

// Counts and traces a call and returns the error that a rule gives it, 0 for none. FOREBAY_DOUBLE_TRACE names
// a file that gets a line a call.
int enter(const char* call);

// One more or one fewer object of a kind.
void alive(const char* kind, int64_t change);

// The worker of a stream stands here until the gate of `call` is open.
void pass_gate(const char* call);

}  // namespace control
