#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "libslice/base/detail/file.h"

namespace slice::tests {

struct Outcome {
  int code = -1;  ///< exit code, or minus the signal that ended it
  std::string out, err;
};

/// A program of ours as a child process whose streams go to files in `scratch`.
class Child {
 public:
  /// @param file_bytes  a file may have; writing more fails as on a full disk. 0: any number
  /// @param environment  NAME=VALUE, before those of this process
  Child(const std::filesystem::path& scratch, std::vector<std::string> arguments,
        uint64_t file_bytes = 0, std::vector<std::string> environment = {})
      : out_(scratch / "stdout"), err_(scratch / "stderr") {
    // The programs stand beside the tests.
    arguments[0] = std::filesystem::read_symlink("/proc/self/exe").parent_path() / arguments[0];
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    std::vector<char*> variables;
    for (std::string& variable : environment) variables.push_back(variable.data());
    for (char** own = environ; *own != nullptr; ++own) variables.push_back(*own);
    variables.push_back(nullptr);
    constexpr int kWrite = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
    const int streams[] = {open("/dev/null", O_RDONLY | O_CLOEXEC),
                           open(out_.c_str(), kWrite, 0600), open(err_.c_str(), kWrite, 0600)};
    process_ = fork();
    if (process_ != 0) {
      for (const int stream : streams) close(stream);
      if (process_ < 0) throw std::runtime_error("cannot fork");
      return;
    }
    for (int descriptor = 0; descriptor < 3; ++descriptor)
      if (dup2(streams[descriptor], descriptor) < 0) _exit(126);
    const rlimit most{file_bytes, file_bytes};
    if (file_bytes > 0 && setrlimit(RLIMIT_FSIZE, &most) != 0) _exit(126);
    execve(argv[0], argv.data(), variables.data());
    _exit(127);
  }

  void interrupt() const { send(SIGINT); }
  void send(int signal) const { kill(process_, signal); }
  /// Whether it has a handler for a signal by now, one of its own: before it becomes the program it
  /// has those of this process.
  bool catches(int signal) const {
    const std::string self = "/proc/" + std::to_string(process_);
    std::error_code gone;
    if (std::filesystem::equivalent(self + "/exe", "/proc/self/exe", gone)) return false;
    std::ifstream status(self + "/status");
    for (std::string word; status >> word;) {
      if (word != "SigCgt:") continue;
      status >> word;
      return (std::stoull(word, nullptr, 16) >> (signal - 1) & 1) != 0;
    }
    return false;
  }
  void kill_at_once() const { kill(process_, SIGKILL); }
  /// From now on it gets so many bytes more of memory, and no more of anything that is mapped where
  /// `all` says so: its stack, libraries, files.
  void starve(uint64_t bytes = 0, bool all = false) const {
    std::ifstream status("/proc/" + std::to_string(process_) + "/status");
    const std::string wanted = all ? "VmSize:" : "VmData:";
    uint64_t kibibytes = 0;
    for (std::string word; status >> word && word != wanted;) {
    }
    status >> kibibytes;
    const uint64_t most = kibibytes * 1024 + bytes;
    const rlimit limit{most, most};
    prlimit(process_, all ? RLIMIT_AS : RLIMIT_DATA, &limit, nullptr);
  }

  Outcome wait() const {
    int status = 0;
    waitpid(process_, &status, 0);
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status),
            detail::read_text_file(out_), detail::read_text_file(err_)};
  }

  const std::filesystem::path& err() const { return err_; }

 private:
  std::filesystem::path out_, err_;
  pid_t process_ = 0;
};

}  // namespace slice::tests
