#pragma once

#include <c10/util/Exception.h>

#include <exception>
#include <string>

namespace slice::detail {

/// The first line of the message of the exception that is being handled.
inline std::string current_message() {
  std::string message = "an exception of an unknown type";
  try {
    throw;
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
  } catch (const std::exception& error) {
    message = error.what();
  } catch (...) {
  }
  return message.substr(0, message.find('\n'));
}

}  // namespace slice::detail
