#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace slice::tests {

// Faults where libslice calls the system. The seam is the linker's: the programs of these tests link
// the library that users get with --wrap=open, --wrap=write … (tests/CMakeLists.txt), so that calls
// from its objects come here first. Nothing of it is compiled into the library, and what other
// libraries call is not touched.

enum class FaultKind {
  kOpen,  ///< open, mkostemp, create_directory: no descriptors left
  kRead,  ///< read, pread, recv: the disk fails, the client is gone
  kWrite,  ///< write, pwrite, send, ftruncate, posix_fallocate: half is written, then the disk is full
  kSync,      ///< fsync: the disk fails
  kRename,    ///< rename, renameat2: no permission
  kMap,       ///< mmap: no address space
  kThread,    ///< std::thread, std::async: no threads left
  kAllocate,  ///< operator new: no memory
  kTensor,    ///< the memory of a CPU tensor
};

std::string fault_name(FaultKind kind);

/// While it lives the `at`-th call of a kind, from 1, fails; all others pass. `at` 0: none does.
/// One at a time.
class Fault {
 public:
  Fault(FaultKind kind, int64_t at);
  Fault(const Fault&) = delete;
  ~Fault();

  /// Calls of this kind so far.
  int64_t calls() const;
  bool happened() const;
};

/// The same for a program of its own. @return  calls since it was armed
void arm_fault(FaultKind kind, int64_t at);
int64_t disarm_fault();

/// While it lives every sync, by the path of what is synced, and every rename is recorded, in order:
/// "sync /a/b", "rename /a/b /a/c", "exchange /a/b /a/c".
class DiskRecord {
 public:
  DiskRecord();
  DiskRecord(const DiskRecord&) = delete;
  ~DiskRecord();
  std::vector<std::string> events() const;
};

}  // namespace slice::tests
