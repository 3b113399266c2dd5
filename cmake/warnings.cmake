# Warnings for our own targets; errors when libslice itself is what is being built.
function(libslice_warnings target)
  set(cxx -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor)
  set(cuda -Xcompiler=-Wall,-Wextra)
  if(PROJECT_IS_TOP_LEVEL)
    list(APPEND cxx -Werror)
    list(APPEND cuda -Werror=all-warnings)
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12 reports these inside inlined std::string, std::vector and ATen code that is correct.
    list(APPEND cxx -Wno-restrict -Wno-array-bounds -Wno-stringop-overflow -Wno-maybe-uninitialized)
  endif()
  target_compile_options(
    ${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${cxx}>" "$<$<COMPILE_LANGUAGE:CUDA>:${cuda}>")
endfunction()
