// Faults, counts, gates and what is alive. Its own lock, taken last: nothing else is called while it is held.
#include "control.h"

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "state.h"

namespace control {
namespace {

struct Rule {
  std::string call;
  uint64_t which;  // 0: every call
  int code;
  uint64_t seen = 0;
};

struct State {
  std::mutex lock;
  std::condition_variable changed;
  std::vector<Rule> rules;
  std::map<std::string, uint64_t> counts;
  std::map<std::string, int64_t> alive;
  std::set<std::string> closed;
  std::map<std::string, int> held;
  std::FILE* trace = nullptr;
  std::string gates;           // a folder; empty: none
  const char* file = nullptr;  // of rules
  std::string read;            // what was in it
};

// The error of a rule that names none: CUDA_ERROR_UNKNOWN; TensorRT's calls report it as an unspecified
// error.
constexpr int DEFAULT_CODE = 999;

// One rule of the text, or none if it can't be read.
std::optional<Rule> parse_rule(const std::string& text) {
  const auto colon = text.find(':');
  const auto equals = text.find('=', colon == std::string::npos ? 0 : colon);
  if (colon == std::string::npos || colon == 0) return std::nullopt;
  const auto which = text.substr(colon + 1, equals == std::string::npos ? equals : equals - colon - 1);
  Rule rule{text.substr(0, colon), 0, DEFAULT_CODE};
  char* end = nullptr;
  if (which != "*") {
    rule.which = std::strtoull(which.c_str(), &end, 10);
    if (*end != '\0' || rule.which == 0) return std::nullopt;
  }
  if (equals != std::string::npos) {
    const auto code = text.substr(equals + 1);
    rule.code = static_cast<int>(std::strtol(code.c_str(), &end, 10));
    if (*end != '\0' || rule.code == 0) return std::nullopt;
  }
  return rule;
}

std::optional<std::vector<Rule>> parse_rules(const char* text) {
  std::vector<Rule> rules;
  std::string rest = text == nullptr ? "" : text;
  while (!rest.empty()) {
    const auto comma = rest.find(',');
    const auto rule = parse_rule(rest.substr(0, comma));
    if (!rule) return std::nullopt;
    rules.push_back(*rule);
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
  }
  return rules;
}

// Never destroyed: the streams' threads may outlive main.
State& state() {
  static State& instance = *[] {
    auto* created = new State;
    auto rules = parse_rules(std::getenv("FOREBAY_DOUBLE_FAIL"));
    if (!rules) {
      std::fputs("FOREBAY_DOUBLE_FAIL isn't a list of call:which=code\n", stderr);
      std::abort();
    }
    created->rules = *rules;
    if (const char* path = std::getenv("FOREBAY_DOUBLE_TRACE")) created->trace = std::fopen(path, "ae");
    if (const char* path = std::getenv("FOREBAY_DOUBLE_GATES")) created->gates = path;
    created->file = std::getenv("FOREBAY_DOUBLE_RULES");
    return created;
  }();
  return instance;
}

void trace(const State& all, const char* line) {
  if (all.trace == nullptr) return;
  std::fprintf(all.trace, "%s\n", line);
  std::fflush(all.trace);
}

// Stands before the gate that another process closed: a file that has the call's name.
void pass_file(State& all, const std::string& call) {
  if (all.gates.empty() || call.empty()) return;
  const auto path = all.gates + '/' + call;
  if (access(path.c_str(), F_OK) != 0) return;
  {
    std::lock_guard guard(all.lock);
    trace(all, ("held " + call).c_str());
  }
  while (access(path.c_str(), F_OK) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
}

// Takes the rules of the file if it says something else than before.
void follow_file(State& all) {
  if (all.file == nullptr) return;
  std::ifstream file(all.file);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || text == all.read) return;
  auto rules = parse_rules(text.c_str());
  if (!rules) {
    std::fprintf(stderr, "%s isn't a list of call:which=code: %s\n", all.file, text.c_str());
    std::abort();
  }
  all.rules = std::move(*rules);
  all.read = text;
}

template <typename Counts>
size_t write_lines(const Counts& counts, char* text, size_t capacity) {
  std::string lines;
  for (const auto& [name, count] : counts) {
    if (count != 0) lines += name + ' ' + std::to_string(count) + '\n';
  }
  if (capacity > 0) {
    const auto bytes = std::min(lines.size(), capacity - 1);
    std::memcpy(text, lines.data(), bytes);
    text[bytes] = '\0';
  }
  return lines.size() + 1;
}

}  // namespace

int enter(const char* call) {
  auto& all = state();
  int code = 0;
  {
    std::lock_guard guard(all.lock);
    follow_file(all);
    ++all.counts[call];
    trace(all, call);
    for (auto& rule : all.rules) {
      if (rule.call != "*" && rule.call != call) continue;
      ++rule.seen;
      if (code == 0 && (rule.which == 0 || rule.which == rule.seen)) code = rule.code;
    }
  }
  if (code >= 0) return code;
  std::raise(-code);
  return 0;
}

void alive(const char* kind, int64_t change) {
  auto& all = state();
  std::lock_guard guard(all.lock);
  all.alive[kind] += change;
}

void pass_gate(const char* call) {
  auto& all = state();
  pass_file(all, call);
  std::unique_lock guard(all.lock);
  if (all.closed.count(call) == 0) return;
  ++all.held[call];
  all.changed.notify_all();
  all.changed.wait(guard, [&] { return all.closed.count(call) == 0; });
  --all.held[call];
}

}  // namespace control

int forebay_double_fail(const char* rules) {
  auto parsed = control::parse_rules(rules);
  if (!parsed) return -1;
  auto& all = control::state();
  std::lock_guard guard(all.lock);
  all.rules = std::move(*parsed);
  return 0;
}

uint64_t forebay_double_count(const char* call) {
  auto& all = control::state();
  std::lock_guard guard(all.lock);
  const auto found = all.counts.find(call);
  return found == all.counts.end() ? 0 : found->second;
}

size_t forebay_double_counts(char* text, size_t capacity) {
  auto& all = control::state();
  std::lock_guard guard(all.lock);
  return control::write_lines(all.counts, text, capacity);
}

int64_t forebay_double_alive(const char* kind) {
  auto& all = control::state();
  std::lock_guard guard(all.lock);
  int64_t sum = 0;
  for (const auto& [name, count] : all.alive) {
    if (kind == nullptr || name == kind) sum += count;
  }
  return sum;
}

size_t forebay_double_alive_list(char* text, size_t capacity) {
  auto& all = control::state();
  std::lock_guard guard(all.lock);
  return control::write_lines(all.alive, text, capacity);
}

void forebay_double_close_gate(const char* call) {
  auto& all = control::state();
  std::lock_guard guard(all.lock);
  all.closed.insert(call);
}

void forebay_double_open_gate(const char* call) {
  auto& all = control::state();
  std::lock_guard guard(all.lock);
  if (call == nullptr) {
    all.closed.clear();
  } else {
    all.closed.erase(call);
  }
  all.changed.notify_all();
}

int forebay_double_await_held(const char* call, int held, int milliseconds) {
  auto& all = control::state();
  std::unique_lock guard(all.lock);
  const auto enough = [&] { return all.held[call] >= held; };
  return all.changed.wait_for(guard, std::chrono::milliseconds(milliseconds), enough) ? 1 : 0;
}

void forebay_double_reset(void) {
  auto& all = control::state();
  {
    std::lock_guard guard(all.lock);
    all.rules.clear();
    all.counts.clear();
    all.closed.clear();
    all.changed.notify_all();
  }
  device::heal();
}
