#include "last_words.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <exception>
#include <iterator>
#include <new>

namespace cli {
namespace {

// Everything lies here before it is needed.
char words[256];
size_t fixed = 0, length = 0;     // of what does not change, of all
alignas(16) char stack[1 << 16];  // for a signal that says that the stack cannot grow
constexpr int kSignals[] = {SIGABRT, SIGBUS, SIGSEGV};
struct sigaction before[3];
std::terminate_handler terminate_before = nullptr;

void append(const char* text) {
  const size_t most = sizeof words - 1 - length, size = std::strlen(text);
  std::memcpy(words + length, text, size < most ? size : most);
  length += size < most ? size : most;
}

/// A process of these programs works with gigabytes: without a quarter of one it has nothing left.
bool starved() {
  constexpr size_t kLittle = size_t{1} << 28;
  void* const some =
      ::mmap(nullptr, kLittle, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (some == MAP_FAILED) return true;
  ::munmap(some, kLittle);
  return false;
}

[[noreturn]] void end_starved() {
  say_last_words();
  _exit(1);
}

bool is_bad_alloc(const std::exception_ptr& error) {
  try {
    if (error) std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    return true;
  } catch (...) {
  }
  return false;
}

[[noreturn]] void on_terminate() {
  if (starved() || is_bad_alloc(std::current_exception())) end_starved();
  if (terminate_before != nullptr) terminate_before();
  std::abort();
}

void on_signal(int signal) {
  if (starved()) end_starved();
  for (size_t i = 0; i < std::size(kSignals); ++i)  // comes again, or abort goes on
    if (kSignals[i] == signal) sigaction(signal, &before[i], nullptr);
}

}  // namespace

void prepare_last_words(const char* name) {
  length = 0;
  append(name);
  append(": out of memory");
  fixed = length;
  set_last_words("");
  terminate_before = std::set_terminate(on_terminate);
  stack_t aside{};
  if (sigaltstack(nullptr, &aside) == 0 && (aside.ss_flags & SS_DISABLE) != 0) {
    aside = {};
    aside.ss_sp = stack;
    aside.ss_size = sizeof stack;
    sigaltstack(&aside, nullptr);
  }
  struct sigaction action {};
  action.sa_handler = on_signal;
  action.sa_flags = SA_ONSTACK;
  for (size_t i = 0; i < std::size(kSignals); ++i) sigaction(kSignals[i], &action, &before[i]);
}

void set_last_words(const char* more) {
  length = fixed;
  append(more);
  words[length++] = '\n';
}

void say_last_words() {
  const ssize_t ignored = ::write(STDERR_FILENO, words, length);
  static_cast<void>(ignored);
}

}  // namespace cli
