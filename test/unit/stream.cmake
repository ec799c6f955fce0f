# Streaming separation and the pipeline, on a stand-in network (fake_network.h): linked from their sources, not from
# the room's library, so that libtorch stays out.
set(separate_sources
    ${CMAKE_SOURCE_DIR}/src/separate/grid.c ${CMAKE_SOURCE_DIR}/src/separate/lanes.c
    ${CMAKE_SOURCE_DIR}/src/separate/normalise.c ${CMAKE_SOURCE_DIR}/src/separate/separate.c
    ${CMAKE_CURRENT_SOURCE_DIR}/unit/fake_network.c ${CMAKE_CURRENT_SOURCE_DIR}/unit/song.c)

foreach(name separate separate_rules)
    msaas_unit_test(${name} LINK msaas_base m)
    target_sources(test_${name} PRIVATE ${separate_sources})
    target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/src/separate)
endforeach()

msaas_unit_test(pipeline LINK msaas_audio m)
target_sources(test_pipeline PRIVATE ${separate_sources}
    ${CMAKE_SOURCE_DIR}/src/worker/pipeline.c ${CMAKE_SOURCE_DIR}/src/worker/spool.c)
target_include_directories(test_pipeline PRIVATE ${CMAKE_SOURCE_DIR}/src/worker)
target_link_options(test_pipeline PRIVATE -Wl,--wrap=ms_spool_read) # to cancel between two blocks
