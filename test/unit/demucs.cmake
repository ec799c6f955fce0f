add_executable(make_model tools/make_model.c)
target_include_directories(make_model PRIVATE ${CMAKE_SOURCE_DIR}/src/demucs)
target_link_libraries(make_model PRIVATE msaas_demucs)
