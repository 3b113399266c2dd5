// Linked into a program beside faults.cpp: SIGUSR1 arms the fault that the file $SLICE_FAULT_FILE
// says, "kind at" as numbers; SIGUSR2 disarms it and writes there how many calls there were.

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "tests/support/faults.h"

namespace slice::tests {
namespace {

std::string path;

void arm(int) {
  char text[64] = {};
  const int file = ::open(path.c_str(), O_RDONLY);
  const ssize_t size = ::read(file, text, sizeof text - 1);
  ::close(file);
  int kind = 0;
  long at = 0;
  if (size > 0 && std::sscanf(text, "%d %ld", &kind, &at) == 2)
    arm_fault(static_cast<FaultKind>(kind), at);
}

void disarm(int) {
  char text[64];
  const int size = std::snprintf(text, sizeof text, "%ld", disarm_fault());
  const int file = ::open(path.c_str(), O_WRONLY | O_TRUNC);
  const ssize_t ignored = ::write(file, text, static_cast<size_t>(size));
  static_cast<void>(ignored);
  ::close(file);
}

[[maybe_unused]] const bool listening = [] {
  const char* given = std::getenv("SLICE_FAULT_FILE");
  if (given == nullptr) return false;
  path = given;
  struct sigaction action {};
  action.sa_flags = SA_RESTART;
  action.sa_handler = arm;
  sigaction(SIGUSR1, &action, nullptr);
  action.sa_handler = disarm;
  return sigaction(SIGUSR2, &action, nullptr) == 0;
}();

}  // namespace
}  // namespace slice::tests
