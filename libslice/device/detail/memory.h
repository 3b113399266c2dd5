#pragma once

#include <c10/core/Device.h>
#include <c10/util/Exception.h>

#include <new>
#include <string>
#include <system_error>

namespace slice::detail {

/// Hands freed heap pages back to the system. Weights of ever new sizes leave holes between them
/// that the heap keeps otherwise: half a gigabyte over the layers of a 135M model. Cost: one walk
/// over the heap, milliseconds; does nothing where the C library cannot.
void release_free_memory();

/// What LibTorch says in front of its advice.
std::string first_sentence(const c10::Error& error);

/// Whether an error of LibTorch means that a device ran out of memory: its allocator says so by
/// type, the CUDA runtime and cuBLAS, which allocate beside it, by words.
bool is_out_of_memory(const c10::Error& error);

/// Whether one means that the host did. Nothing that ran out of it may be tried again in smaller
/// pieces: on the CPU, steps allocate after they changed something.
bool is_host_out_of_memory(const c10::Error& error);

/// What LibTorch says about the host's memory, without its own file and line.
std::string host_reason(const c10::Error& error);

/// @throws DeviceError  `what` did not fit on `device`, how much is free there, and the reason.
[[noreturn]] void throw_out_of_memory(const std::string& what, c10::Device device,
                                      const std::string& reason);

/// Runs `body`; when the device has no memory for it, says so by name.
template <typename Body>
void name_memory(const std::string& what, c10::Device device, Body&& body) {
  try {
    body();
  } catch (const c10::Error& error) {
    if (is_host_out_of_memory(error)) throw_out_of_memory(what, c10::kCPU, host_reason(error));
    if (!is_out_of_memory(error)) throw;
    throw_out_of_memory(what, device, first_sentence(error));
  } catch (const std::bad_alloc&) {
    throw_out_of_memory(what, c10::kCPU, "out of memory");
  } catch (const std::system_error& error) {
    if (error.code() != std::errc::resource_unavailable_try_again) throw;
    throw_out_of_memory(what, c10::kCPU, "no memory for a thread");
  }
}

}  // namespace slice::detail
