msaas_unit_test(model_cache LINK model_files msaas_store m)
target_sources(test_model_cache PRIVATE ${CMAKE_SOURCE_DIR}/src/worker/model_cache.c)
