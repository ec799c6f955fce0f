msaas_unit_test(model_cache LINK model_files msaas_store m)
target_sources(test_model_cache PRIVATE ${CMAKE_SOURCE_DIR}/src/worker/model_cache.c)

# The worker on a stand-in network, like the pipeline's tests: sources, so that libtorch stays out.
set(worker_sources chores engine job_run lease logship outage pipeline scratch spool worker)
list(TRANSFORM worker_sources PREPEND ${CMAKE_SOURCE_DIR}/src/worker/)
list(TRANSFORM worker_sources APPEND .c)
msaas_unit_test(worker LINK msaas_audio msaas_queue msaas_store msaas_notify m)
set(lane_sources ${CMAKE_SOURCE_DIR}/src/separate/grid.c ${CMAKE_SOURCE_DIR}/src/separate/lanes.c
    ${CMAKE_SOURCE_DIR}/src/separate/normalise.c ${CMAKE_SOURCE_DIR}/src/separate/separate.c unit/fake_network.c)
target_sources(test_worker PRIVATE ${worker_sources} ${lane_sources} unit/worker_world.c)
target_include_directories(test_worker PRIVATE ${CMAKE_SOURCE_DIR}/src/separate)

set_property(TEST unit_worker PROPERTY COST 35)

msaas_unit_test(engine LINK msaas_base m)
target_sources(test_engine PRIVATE ${CMAKE_SOURCE_DIR}/src/worker/engine.c ${lane_sources})
target_include_directories(test_engine PRIVATE ${CMAKE_SOURCE_DIR}/src/separate)

msaas_unit_test(logship LINK msaas_queue)
target_sources(test_logship PRIVATE ${CMAKE_SOURCE_DIR}/src/worker/logship.c ${CMAKE_SOURCE_DIR}/src/worker/outage.c)

msaas_unit_test(chores LINK msaas_queue msaas_notify)
target_sources(test_chores PRIVATE ${CMAKE_SOURCE_DIR}/src/worker/chores.c ${CMAKE_SOURCE_DIR}/src/worker/outage.c)
target_include_directories(test_chores PRIVATE ${CMAKE_SOURCE_DIR}/src/worker)
