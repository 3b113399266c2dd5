#pragma once

#include <stdexcept>

namespace slice {

/// Root of everything the library throws. A message names the tensor, file or argument at fault,
/// what was wanted and what came.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A tensor has the wrong shape.
class ShapeError : public Error {
 public:
  using Error::Error;
};

/// An argument other than a tensor's shape is out of its range or contradicts another: a fraction
/// above one, an empty prompt, an id outside the vocabulary.
class ArgumentError : public Error {
 public:
  using Error::Error;
};

/// A tensor has the wrong element type.
class DtypeError : public Error {
 public:
  using Error::Error;
};

/// A tensor is on the wrong device, or the device asked for is not there.
class DeviceError : public Error {
 public:
  using Error::Error;
};

/// A file (model, tokenizer, text, configuration) is missing, malformed, truncated or not
/// supported.
class FormatError : public Error {
 public:
  using Error::Error;
};

/// A NaN or Inf where numbers were wanted, or a solver that did not converge.
class NumericError : public Error {
 public:
  using Error::Error;
};

/// A CUDA runtime, cuBLAS or cuSOLVER call failed.
class CudaError : public Error {
 public:
  using Error::Error;
};

/// The caller asked to stop (thrown out of a progress callback; unwinds without leaving a trace on
/// disk).
class Interrupted : public Error {
 public:
  using Error::Error;
};

}  // namespace slice
