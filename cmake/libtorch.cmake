# The target `torch`: ATen and c10, wherever CMAKE_PREFIX_PATH or the system has them; for GPUs also
# libtorch_cuda, which nothing refers to by name and which must be loaded all the same. Not
# find_package(Torch): it wants the whole toolkit of CUDA, and Debian's glog, gflags and protobuf,
# none of which is needed to build on the tensors' headers.
find_library(TORCH_CPU torch_cpu REQUIRED)
find_library(TORCH_C10 c10 REQUIRED)
find_path(TORCH_INCLUDE ATen/ATen.h REQUIRED)
get_filename_component(torch_folder ${TORCH_CPU} DIRECTORY)
find_library(TORCH_CUDA torch_cuda PATHS ${torch_folder} NO_DEFAULT_PATH)

add_library(torch INTERFACE)
target_include_directories(torch SYSTEM INTERFACE ${TORCH_INCLUDE}
                           ${TORCH_INCLUDE}/torch/csrc/api/include)
target_link_libraries(torch INTERFACE ${TORCH_CPU} ${TORCH_C10})
if(TORCH_CUDA)
    target_link_libraries(torch INTERFACE -Wl,--no-as-needed ${TORCH_CUDA} -Wl,--as-needed)
endif()
