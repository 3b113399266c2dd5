#include "examples/serve/connection.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace serve {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFarewell(1000), kLook(100);

/// @return  what poll() says of one event
int poll_one(int socket, short event, milliseconds time) {
  pollfd watched = {socket, event, 0};
  int ready = 0;
  do {
    ready = poll(&watched, 1, static_cast<int>(std::max<int64_t>(time.count(), 0)));
  } while (ready < 0 && errno == EINTR);
  return ready;
}

template <typename Read>
void read_address(int socket, const Read& read, std::string& ip, int& port) {
  sockaddr_storage address = {};
  socklen_t size = sizeof address;
  char text[INET6_ADDRSTRLEN] = "";
  if (read(socket, reinterpret_cast<sockaddr*>(&address), &size) != 0) return;
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
    port = ntohs(v4.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
    port = ntohs(v6.sin6_port);
  }
  ip = text;
}

}  // namespace

/// @return  as poll(): 0 where the time was up, or the server stops
int Connection::wait(short event, Clock::time_point until) const {
  while (true) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
    const int ready = poll_one(socket_, event, std::min(left, kLook));
    if (ready != 0 || left < kLook || stopping_) return ready;
  }
}

/// Reads what has come.
ssize_t Connection::fill() {
  ssize_t count = 0;
  do {
    count = recv(socket_, buffer_.data(), buffer_.size(), 0);
  } while (count < 0 && errno == EINTR);
  begin_ = 0;
  end_ = count > 0 ? static_cast<size_t>(count) : 0;
  return count;
}

bool Connection::wait_for_request() {
  in_body_ = whole_ = too_large_ = too_slow_ = false;
  left_ = limits_.header_bytes;
  if (begin_ == end_) {
    const auto give_up = Clock::now() + std::chrono::seconds(limits_.idle_seconds);
    if (wait(POLLIN, give_up) <= 0 || fill() <= 0) return false;
  }
  until_ = Clock::now() + std::chrono::seconds(limits_.receive_seconds);
  return true;
}

ssize_t Connection::read(char* data, size_t size) {
  if (begin_ == end_) {
    const int ready = wait(POLLIN, until_);
    if (ready <= 0) {
      too_slow_ = ready == 0 && !stopping_;
      return -1;
    }
    const ssize_t count = fill();
    if (count <= 0) return count;
  }
  size = std::min(size, end_ - begin_);
  if (std::cmp_greater(size, left_)) {
    too_large_ = true;
    return -1;
  }
  left_ -= static_cast<int64_t>(size);
  std::memcpy(data, buffer_.data() + begin_, size);
  begin_ += size;
  return static_cast<ssize_t>(size);
}

bool Connection::is_writable() const {
  return wait(POLLOUT, Clock::now() + std::chrono::seconds(limits_.send_seconds)) > 0;
}

ssize_t Connection::write(const char* data, size_t size) {
  while (true) {
    if (!is_writable()) return -1;
    const ssize_t count = send(socket_, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) return count;
    if (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK) return -1;
  }
}

bool Connection::is_gone() const {
  char byte = 0;
  const ssize_t count = recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  return count == 0 || (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

void Connection::close() {
  ::shutdown(socket_, SHUT_WR);
  const auto until = Clock::now() + kFarewell;
  while (true) {
    const auto left = std::chrono::duration_cast<milliseconds>(until - Clock::now());
    if (poll_one(socket_, POLLIN, left) <= 0 || fill() <= 0) break;
  }
  ::close(socket_);
}

void Connection::get_remote_ip_and_port(std::string& ip, int& port) const {
  read_address(socket_, getpeername, ip, port);
}

void Connection::get_local_ip_and_port(std::string& ip, int& port) const {
  read_address(socket_, getsockname, ip, port);
}

Connection*& current_connection() {
  thread_local Connection* current = nullptr;
  return current;
}

}  // namespace serve
