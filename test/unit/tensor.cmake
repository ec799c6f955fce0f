# The kernels, also with vectors of 16 values on every processor: a table of the test alone.
add_library(kernels_wide OBJECT ${CMAKE_SOURCE_DIR}/src/tensor/kernels/cpu.c)
target_link_libraries(kernels_wide PRIVATE msaas_kernel_flags)
target_compile_definitions(kernels_wide PRIVATE MS_KERNELS=wide MS_LANES=16 MS_TILE_ROWS=12)
# Wider than the processor's vectors: gcc warns of calls between objects, of which there are none.
target_compile_options(kernels_wide PRIVATE -Wno-psabi)
set(kernels plain)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(kernels_wide PRIVATE -mavx2 -mfma)
    list(APPEND kernels avx2 avx512 avx512_bf16)
endif()

msaas_unit_test(kernels LINK msaas_flags Threads::Threads m)
target_include_directories(test_kernels PRIVATE ${CMAKE_SOURCE_DIR}/src/tensor/kernels)
target_sources(test_kernels PRIVATE unit/kernels_product.c $<TARGET_OBJECTS:kernels_wide>
    ${CMAKE_SOURCE_DIR}/src/tensor/kernels/kernels.c)
foreach(name IN LISTS kernels)
    target_sources(test_kernels PRIVATE $<TARGET_OBJECTS:msaas_kernels_${name}>)
endforeach()

# Our own operators against libtorch's.
msaas_unit_test(operators LINK msaas_torch_objects msaas_demucs)
target_sources(test_operators PRIVATE unit/operators_errors.c)
target_include_directories(test_operators PRIVATE ${CMAKE_SOURCE_DIR}/src/tensor)
