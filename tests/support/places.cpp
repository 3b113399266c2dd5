#include "tests/support/places.h"

namespace slice::tests {

std::filesystem::path source_directory() { return LIBSLICE_SOURCE_DIR; }
std::filesystem::path data_directory() { return source_directory() / "tests/data"; }

}  // namespace slice::tests
