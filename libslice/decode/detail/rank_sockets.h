#pragma once

#include <vector>

namespace slice {
class ProcessGroup;
}

namespace slice::detail {

/// A file descriptor that closes itself, or none.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  Descriptor(Descriptor&& other) noexcept;
  Descriptor& operator=(Descriptor&& other) noexcept;
  ~Descriptor();
  int get() const { return number_; }

 private:
  int number_;
};

/// A connected socket of the host to every other rank of a group, in their order; at this rank's
/// place none. They have no name in the file system, so that nothing is left of them.
/// @throws DeviceError  a rank is on another host, or is run by another user (on every rank)
/// @throws Error        lost contact with another rank
std::vector<Descriptor> sockets_to_ranks(const ProcessGroup& group);

}  // namespace slice::detail
