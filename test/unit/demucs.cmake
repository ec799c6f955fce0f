# The model's files, linked from their sources, not from the room's library, so that libtorch stays out.
set(model_file_sources
    import import_onnx import_th manifest mapped model_find model_import model_json onnx pickle safetensors spec tensors zip)
list(TRANSFORM model_file_sources PREPEND ${CMAKE_SOURCE_DIR}/src/demucs/)
list(TRANSFORM model_file_sources APPEND .c)
add_library(model_files STATIC ${model_file_sources})
target_include_directories(model_files PUBLIC ${CMAKE_SOURCE_DIR}/src/demucs)
target_link_libraries(model_files PUBLIC msaas_base msaas_manifests)

add_executable(make_model tools/make_model.c)
target_link_libraries(make_model PRIVATE model_files m)

foreach(name spec safetensors model_files onnx pickle)
    msaas_unit_test(${name} LINK model_files m)
endforeach()

msaas_unit_test(arena LINK msaas_flags)
target_sources(test_arena PRIVATE ${CMAKE_SOURCE_DIR}/src/tensor/arena.c)
target_include_directories(test_arena PRIVATE ${CMAKE_SOURCE_DIR}/src/tensor)
