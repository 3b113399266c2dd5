# Finds LibTorch for libslice and for programs built against the installed library: both include this file.
#
#   in   LIBSLICE_CUDA           whether the library has kernels
#        Torch_DIR, CMAKE_PREFIX_PATH   as for find_package(Torch); LIBSLICE_DEPS/libtorch is looked at last
#   out  libslice::torch         what to link
#
# LibTorch's own package file cannot be used everywhere: for a CUDA LibTorch it stops without a CUDA
# toolkit, although its CPU half runs without one; then we import that half by ourselves.
find_path(
  LIBSLICE_TORCH_INCLUDE_DIR ATen/core/Tensor.h
  HINTS "${Torch_DIR}/../../../include" "$ENV{Torch_DIR}/../../../include"
  PATHS "${LIBSLICE_DEPS}/libtorch/include")
mark_as_advanced(LIBSLICE_TORCH_INCLUDE_DIR)
if(NOT LIBSLICE_TORCH_INCLUDE_DIR)
  set(_slice_remedy "Put LibTorch's folder into CMAKE_PREFIX_PATH, or set Torch_DIR.")
  if(NOT DEFINED CMAKE_FIND_PACKAGE_NAME) # in libslice's own repository
    string(PREPEND _slice_remedy "Run cmake/bootstrap.sh. Or: ")
  endif()
  message(FATAL_ERROR "libslice: no LibTorch found. ${_slice_remedy}")
endif()
get_filename_component(_slice_torch "${LIBSLICE_TORCH_INCLUDE_DIR}" DIRECTORY)
if(EXISTS "${_slice_torch}/lib/libtorch_cuda.so")
  set(_slice_torch_has_cuda ON)
else()
  set(_slice_torch_has_cuda OFF)
endif()

if(LIBSLICE_CUDA AND NOT _slice_torch_has_cuda)
  message(FATAL_ERROR "libslice: CUDA is wanted, but ${_slice_torch} is a LibTorch without CUDA. "
                      "Use the preset `cpu`, or another LibTorch.")
endif()

# libstdc++ comes first because libtorch.so of the wheel exports parts of its own (std::filesystem::remove_all), which
# crash when a program's calls are bound to them.
if(NOT TARGET libslice::torch)
  add_library(libslice::torch INTERFACE IMPORTED)
  set(_slice_torch_includes "${_slice_torch}/include" "${_slice_torch}/include/torch/csrc/api/include")
  if(LIBSLICE_CUDA OR NOT _slice_torch_has_cuda)
    # Torch's package file replaces the CUDA architectures and appends to the CUDA flags of whoever calls it.
    set(_slice_changed CMAKE_CUDA_FLAGS CMAKE_CUDA_STANDARD CMAKE_CUDA_STANDARD_REQUIRED
                       CMAKE_CUDA_ARCHITECTURES)
    foreach(_slice_name IN LISTS _slice_changed)
      unset(_slice_saved_${_slice_name})
      if(DEFINED ${_slice_name})
        set(_slice_saved_${_slice_name} "${${_slice_name}}")
      endif()
    endforeach()
    unset(CMAKE_CUDA_ARCHITECTURES)
    if(LIBSLICE_CUDA)
      if(NOT DEFINED TORCH_CUDA_ARCH_LIST)
        # Its own choice without a GPU holds 5.0, which nvcc 13 rejects. No code is generated from it.
        set(TORCH_CUDA_ARCH_LIST 8.0)
      endif()
      find_package(CUDAToolkit REQUIRED)
      if(NOT TARGET CUDA::nvToolsExt AND TARGET CUDA::nvtx3)
        add_library(CUDA::nvToolsExt INTERFACE IMPORTED)  # asked for by LibTorch < 2.6, gone from CUDA 13
        set_target_properties(CUDA::nvToolsExt PROPERTIES INTERFACE_LINK_LIBRARIES CUDA::nvtx3)
      endif()
    endif()
    set(Torch_DIR "${_slice_torch}/share/cmake/Torch")
    find_package(Torch 2.5 REQUIRED)
    if(TORCH_CXX_FLAGS MATCHES "CXX11_ABI=0")
      message(FATAL_ERROR "libslice: ${_slice_torch} is a LibTorch of the old C++ ABI; want one of the C++11 ABI.")
    endif()
    foreach(_slice_name IN LISTS _slice_changed)
      unset(${_slice_name})
      if(DEFINED _slice_saved_${_slice_name})
        set(${_slice_name} "${_slice_saved_${_slice_name}}")
      endif()
    endforeach()
    # TORCH_LIBRARIES would put the absolute path of libc10.so into what we export. LINK_ONLY: sources are compiled
    # with the same flags with and without CUDA, so that a compiler cache serves both presets.
    set_target_properties(
      libslice::torch
      PROPERTIES INTERFACE_LINK_LIBRARIES "stdc++;$<LINK_ONLY:torch>;$<LINK_ONLY:torch_library>"
                 INTERFACE_INCLUDE_DIRECTORIES "${_slice_torch_includes}")
  else()
    foreach(_slice_part c10 torch_cpu)
      add_library(libslice::${_slice_part} SHARED IMPORTED)
      set_target_properties(
        libslice::${_slice_part}
        PROPERTIES IMPORTED_LOCATION "${_slice_torch}/lib/lib${_slice_part}.so"
                   INTERFACE_INCLUDE_DIRECTORIES "${_slice_torch_includes}")
    endforeach()
    set_target_properties(libslice::torch PROPERTIES INTERFACE_LINK_LIBRARIES
                                                     "stdc++;libslice::torch_cpu;libslice::c10")
  endif()
endif()
