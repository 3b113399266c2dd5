#pragma once

// What a program says where no exception can reach main: it has no memory left.

namespace cli {

/// From now on: where an exception can go no further, or a library aborts or runs into memory that
/// it did not get, while the system gives no more, the process writes `<name>: out of memory` and
/// ends with exit code 1. Whatever else goes wrong there ends as it did before.
void prepare_last_words(const char* name);

/// What those words end with, such as " (the same command with --resume resumes it)".
void set_last_words(const char* more);

/// Writes them; allocates nothing.
void say_last_words();

}  // namespace cli
