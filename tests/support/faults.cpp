#include "tests/support/faults.h"

#include <c10/core/CPUAllocator.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <iterator>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

namespace slice::tests {
namespace {

namespace fs = std::filesystem;

constexpr int kNone = -1;
std::atomic<int> armed = kNone;  // a FaultKind
std::atomic<int64_t> place = 0, count = 0;
std::atomic<bool> recording = false;

std::mutex& record_mutex() {
  static std::mutex mutex;
  return mutex;
}

std::vector<std::string>& record() {
  static std::vector<std::string> events;
  return events;
}

/// Whether this call is the one to fail.
bool fails(FaultKind kind) {
  if (armed.load(std::memory_order_relaxed) != static_cast<int>(kind)) return false;
  return count.fetch_add(1) + 1 == place.load();
}

bool fails_with(FaultKind kind, int error) {
  if (!fails(kind)) return false;
  errno = error;
  return true;
}

void note(const std::string& event) {
  if (!recording) return;
  const std::lock_guard lock(record_mutex());
  record().push_back(event);
}

/// Whether this memory is taken where nothing may be thrown, so that the process ends there whatever
/// its program does: by nlohmann's destructor of a JSON value, or within the standard library, which
/// calls the functions of this program that it shares.
bool cannot_throw() {
  void* frames[32];
  const int depth = ::backtrace(frames, std::size(frames));
  for (int i = 0; i < depth; ++i) {  // from the call outwards, as far as the library's own function
    Dl_info function{};
    if (::dladdr(frames[i], &function) == 0) continue;
    if (std::strstr(function.dli_fname, "libstdc++") != nullptr) return true;
    if (function.dli_sname == nullptr) continue;
    if (std::strstr(function.dli_sname, "json_value7destroy") != nullptr) return true;
    const char* ours = std::strstr(function.dli_sname, "5slice");
    if (ours != nullptr && std::strncmp(ours, "5slice5tests", 12) != 0) return false;
  }
  return false;
}

/// Says where something was thrown that nothing can catch.
[[noreturn]] void show_terminate() {
  void* frames[64];
  ::backtrace_symbols_fd(frames, ::backtrace(frames, std::size(frames)), STDERR_FILENO);
  std::abort();
}

/// Memory of CPU tensors, from the allocator that LibTorch has.
class FailingAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    TORCH_CHECK(!fails(FaultKind::kTensor),
                "DefaultCPUAllocator: can't allocate memory: you tried to allocate ", bytes,
                " bytes. Error code 12 (Cannot allocate memory)");
    return real_->allocate(bytes);
  }
  c10::DeleterFnPtr raw_deleter() const override { return real_->raw_deleter(); }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    real_->copy_data(to, from, bytes);
  }

 private:
  c10::Allocator* real_ = c10::GetDefaultCPUAllocator();
};

[[maybe_unused]] const bool installed = [] {
  static FailingAllocator allocator;
  c10::SetCPUAllocator(&allocator, /*priority=*/255);
  std::set_terminate(show_terminate);
  return true;
}();

}  // namespace

std::string fault_name(FaultKind kind) {
  constexpr const char* kNames[] = {"open", "read",   "write",    "sync",  "rename",
                                    "map",  "thread", "allocate", "tensor"};
  return kNames[static_cast<int>(kind)];
}

void arm_fault(FaultKind kind, int64_t at) {
  count = 0;
  place = at;
  armed = static_cast<int>(kind);
}

int64_t disarm_fault() {
  armed = kNone;
  return count;
}

Fault::Fault(FaultKind kind, int64_t at) { arm_fault(kind, at); }
Fault::~Fault() { disarm_fault(); }
int64_t Fault::calls() const { return count; }
bool Fault::happened() const { return place > 0 && count >= place; }

DiskRecord::DiskRecord() {
  record().clear();
  recording = true;
}

DiskRecord::~DiskRecord() { recording = false; }

std::vector<std::string> DiskRecord::events() const {
  const std::lock_guard lock(record_mutex());
  return record();
}

}  // namespace slice::tests

// What the linker puts in place of a function, and what it calls the function itself. A mangled name
// stands for a member of the standard library.

using slice::tests::fails;
using slice::tests::fails_with;
using slice::tests::FaultKind;
using slice::tests::note;

extern "C" {

int __real_open(const char* path, int flags, ...);
int __wrap_open(const char* path, int flags, ...) {
  va_list more;
  va_start(more, flags);
  const int mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(more, int) : 0;
  va_end(more);
  return fails_with(FaultKind::kOpen, EMFILE) ? -1 : __real_open(path, flags, mode);
}

int __real_mkostemp(char* name, int flags);
int __wrap_mkostemp(char* name, int flags) {
  return fails_with(FaultKind::kOpen, EMFILE) ? -1 : __real_mkostemp(name, flags);
}

ssize_t __real_read(int file, void* to, size_t size);
ssize_t __wrap_read(int file, void* to, size_t size) {
  return fails_with(FaultKind::kRead, EIO) ? -1 : __real_read(file, to, size);
}

ssize_t __real_recv(int file, void* to, size_t size, int flags);
ssize_t __wrap_recv(int file, void* to, size_t size, int flags) {
  return fails_with(FaultKind::kRead, ECONNRESET) ? -1 : __real_recv(file, to, size, flags);
}

ssize_t __real_send(int file, const void* from, size_t size, int flags);
ssize_t __wrap_send(int file, const void* from, size_t size, int flags) {
  return fails_with(FaultKind::kWrite, EPIPE) ? -1 : __real_send(file, from, size, flags);
}

ssize_t __real_pread(int file, void* to, size_t size, off_t offset);
ssize_t __wrap_pread(int file, void* to, size_t size, off_t offset) {
  return fails_with(FaultKind::kRead, EIO) ? -1 : __real_pread(file, to, size, offset);
}

ssize_t __real_write(int file, const void* from, size_t size);
ssize_t __wrap_write(int file, const void* from, size_t size) {
  if (!fails(FaultKind::kWrite)) return __real_write(file, from, size);
  const ssize_t half = __real_write(file, from, size / 2);
  errno = ENOSPC;
  return half < 0 ? half : -1;
}

ssize_t __real_pwrite(int file, const void* from, size_t size, off_t offset);
ssize_t __wrap_pwrite(int file, const void* from, size_t size, off_t offset) {
  if (!fails(FaultKind::kWrite)) return __real_pwrite(file, from, size, offset);
  const ssize_t half = __real_pwrite(file, from, size / 2, offset);
  errno = ENOSPC;
  return half < 0 ? half : -1;
}

int __real_ftruncate(int file, off_t size);
int __wrap_ftruncate(int file, off_t size) {
  return fails_with(FaultKind::kWrite, EIO) ? -1 : __real_ftruncate(file, size);
}

int __real_posix_fallocate(int file, off_t offset, off_t size);
int __wrap_posix_fallocate(int file, off_t offset, off_t size) {
  return fails(FaultKind::kWrite) ? ENOSPC : __real_posix_fallocate(file, offset, size);
}

int __real_fsync(int file);
int __wrap_fsync(int file) {
  std::error_code ignored;
  note("sync " +
       std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(file), ignored).string());
  return fails_with(FaultKind::kSync, EIO) ? -1 : __real_fsync(file);
}

int __real_rename(const char* from, const char* to);
int __wrap_rename(const char* from, const char* to) {
  note(std::string("rename ") + from + " " + to);
  return fails_with(FaultKind::kRename, EACCES) ? -1 : __real_rename(from, to);
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...) {
  long value[6];
  va_list more;
  va_start(more, number);
  for (long& one : value) one = va_arg(more, long);
  va_end(more);
  if (number == SYS_renameat2) {
    note(std::string(value[4] == RENAME_EXCHANGE ? "exchange " : "rename ") +
         reinterpret_cast<const char*>(value[1]) + " " + reinterpret_cast<const char*>(value[3]));
    if (fails_with(FaultKind::kRename, EACCES)) return -1;
  }
  return __real_syscall(number, value[0], value[1], value[2], value[3], value[4], value[5]);
}

void* __real_mmap(void* at, size_t size, int protection, int flags, int file, off_t offset);
void* __wrap_mmap(void* at, size_t size, int protection, int flags, int file, off_t offset) {
  if (fails_with(FaultKind::kMap, ENOMEM)) return MAP_FAILED;
  return __real_mmap(at, size, protection, flags, file, offset);
}

void* __real__Znwm(size_t size);
void* __wrap__Znwm(size_t size) {
  if (fails(FaultKind::kAllocate)) {
    if (!slice::tests::cannot_throw()) throw std::bad_alloc();
    ++slice::tests::place;  // the next one
  }
  return __real__Znwm(size);
}

}  // extern "C"

// Members of the standard library by their mangled names. A unique_ptr is passed by its address, and
// destroyed by the caller.
#define SLICE_CREATE_DIRECTORY \
  "_ZNSt10filesystem16create_directoryERKNS_7__cxx114pathERSt10error_code"
#define SLICE_RENAME "_ZNSt10filesystem6renameERKNS_7__cxx114pathES3_"
#define SLICE_RENAME_OR_SAY "_ZNSt10filesystem6renameERKNS_7__cxx114pathES3_RSt10error_code"
#define SLICE_START_THREAD \
  "_ZNSt6thread15_M_start_threadESt10unique_ptrINS_6_StateESt14default_deleteIS1_EEPFvvE"

namespace slice::tests::wrapped {

using fs::path;
using std::error_code;

bool real_create(const path&, error_code&) __asm__("__real_" SLICE_CREATE_DIRECTORY);
bool create(const path&, error_code&) __asm__("__wrap_" SLICE_CREATE_DIRECTORY);
void real_rename(const path&, const path&) __asm__("__real_" SLICE_RENAME);
void rename(const path&, const path&) __asm__("__wrap_" SLICE_RENAME);
void real_rename_or_say(const path&, const path&,
                        error_code&) __asm__("__real_" SLICE_RENAME_OR_SAY);
void rename_or_say(const path&, const path&, error_code&) __asm__("__wrap_" SLICE_RENAME_OR_SAY);
void real_start(std::thread*, void*, void (*)()) __asm__("__real_" SLICE_START_THREAD);
void start(std::thread*, void*, void (*)()) __asm__("__wrap_" SLICE_START_THREAD);

bool create(const path& directory, error_code& error) {
  if (!fails(FaultKind::kOpen)) return real_create(directory, error);
  error = std::make_error_code(std::errc::no_space_on_device);
  return false;
}

void rename(const path& from, const path& to) {
  note("rename " + from.string() + " " + to.string());
  if (fails(FaultKind::kRename))
    throw fs::filesystem_error("rename", from, to,
                               std::make_error_code(std::errc::permission_denied));
  real_rename(from, to);
}

void rename_or_say(const path& from, const path& to, error_code& error) {
  note("rename " + from.string() + " " + to.string());
  if (!fails(FaultKind::kRename)) return real_rename_or_say(from, to, error);
  error = std::make_error_code(std::errc::permission_denied);
}

void start(std::thread* thread, void* state, void (*depend)()) {
  if (fails(FaultKind::kThread))
    throw std::system_error(std::make_error_code(std::errc::resource_unavailable_try_again));
  real_start(thread, state, depend);
}

}  // namespace slice::tests::wrapped
