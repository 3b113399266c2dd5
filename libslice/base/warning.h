#pragma once

#include <functional>
#include <string_view>

namespace slice {

/// Hears one warning: what a reader met and went on from (a tensor that nothing uses, an end token
/// that no text can hold), in one line that names the file. Called on the thread that met it.
using WarningHandler = std::function<void(std::string_view)>;

/// Says who hears warnings from now on, in the whole process; an empty handler, the default, hears
/// none, for the library itself prints nothing. Returns the handler there was. Any thread may call
/// it, and warnings of several threads reach the handler one after another; a handler neither calls
/// this function nor anything that warns.
WarningHandler set_warning_handler(WarningHandler handler);

}  // namespace slice
