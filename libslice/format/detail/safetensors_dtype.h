#pragma once

#include <c10/core/ScalarType.h>

#include <string>

namespace slice::detail {

/// The dtype of a header's word, "BF16". Those that no weight of ours has (float8, unsigned
/// numbers) are known too, so that a file may hold them where nothing reads them.
/// @param where  file and tensor, for messages    @throws FormatError  not one of the format's
c10::ScalarType safetensors_dtype(const std::string& word, const std::string& where);

/// The header's word for a dtype that is written. @throws DtypeError  it is not
std::string safetensors_name(c10::ScalarType dtype);

}  // namespace slice::detail
