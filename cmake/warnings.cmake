# Warnings for our own targets; errors when libslice itself is what is being built, by a compiler whose warnings are
# known: a later one has others, which must not keep anybody from building.
function(libslice_warnings target)
  set(cxx -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor)
  set(cuda -Xcompiler=-Wall,-Wextra)
  set(known_GNU 14)
  set(known_Clang 19)
  if(PROJECT_IS_TOP_LEVEL AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS "${known_${CMAKE_CXX_COMPILER_ID}}")
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
