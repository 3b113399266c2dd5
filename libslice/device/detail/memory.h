#pragma once

#include <c10/core/Device.h>
#include <c10/util/Exception.h>

#include <new>
#include <string>
#include <system_error>

namespace slice::detail {

/// Returns freed heap pages to the system. Weights of changing sizes leave gaps that the heap would
/// keep: half a gigabyte over the layers of a 135M model. Cost: one walk over the heap,
/// milliseconds. Does nothing where the C library cannot.
void release_free_memory();

/// LibTorch's message without its advice.
std::string first_sentence(const c10::Error& error);

/// Whether an error of LibTorch means that a device ran out of memory: its allocator throws a type
/// of its own; the CUDA runtime and cuBLAS, which allocate outside of it, are known by their
/// messages.
bool is_out_of_memory(const c10::Error& error);

/// Whether an error means that the host ran out of memory. Such a step must not be retried in
/// smaller pieces: on the CPU, steps allocate after they have changed something.
bool is_host_out_of_memory(const c10::Error& error);

/// LibTorch's message about the host's memory, without its file and line.
std::string host_reason(const c10::Error& error);

/// @throws DeviceError  names `what` did not fit on `device`, the free memory there, and the reason
[[noreturn]] void throw_out_of_memory(const std::string& what, c10::Device device,
                                      const std::string& reason);

/// Runs `body`; running out of memory becomes a DeviceError that names `what`.
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
