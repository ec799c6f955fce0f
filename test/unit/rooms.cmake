# The unit tests of each room, from the bottom up.
msaas_unit_tests(base err json text digest base64 sys url tasks thread metrics log file_name
                 zip_writer)
msaas_unit_tests(account accounts)
msaas_unit_tests(net http_client)
msaas_unit_tests(job job)
msaas_unit_tests(audio confine stream decode decode_refusals encode_stream)
target_link_options(test_stream PRIVATE -Wl,--wrap=poll,--wrap=ms_monotonic_s)
msaas_unit_tests(audio stem_mp4)
msaas_unit_tests(render stem_file)
foreach(name stem_mp4 stem_file)
    target_compile_definitions(test_${name} PRIVATE
        MP4_BOXES="${CMAKE_SOURCE_DIR}/test/tools/mp4_boxes.py")
endforeach()
msaas_unit_tests(http http_parse router http_range multipart origin http_server http_slow
                 http_limits http_flow http_later http_intake cors)
msaas_unit_tests(store s3 sigv4)
msaas_unit_tests(upload upload)
msaas_unit_tests(notify webhook)

add_executable(make_model tools/make_model.c)
target_link_libraries(make_model PRIVATE msaas_weights)
target_include_directories(make_model PRIVATE ${CMAKE_SOURCE_DIR}/src/weights)
msaas_unit_tests(weights spec safetensors model_files onnx pickle bag model_cache
                 model_claim)

# Separation on a stand-in network, which takes no time.
add_library(fake_network STATIC unit/fake_network.c unit/song.c)
target_link_libraries(fake_network PUBLIC msaas_separate PkgConfig::CMOCKA)
msaas_unit_tests(separate separate separate_rules LINK fake_network)
msaas_unit_tests(song peaks)
msaas_unit_tests(song pipeline pipeline_faults LINK fake_network)
target_sources(test_pipeline PRIVATE unit/pipeline_bench.c)
target_sources(test_pipeline_faults PRIVATE unit/pipeline_bench.c)
target_link_options(test_pipeline_faults PRIVATE
                    -Wl,--wrap=ms_spool_read) # to cancel between two blocks
msaas_unit_tests(worker worker worker_killed worker_refused preview engine logship chores outage
                 sweeper LINK fake_network)
target_link_options(test_outage PRIVATE -Wl,--wrap=ms_monotonic_s)
target_link_options(test_chores PRIVATE -Wl,--wrap=ms_http_send)
foreach(name worker worker_killed worker_refused preview)
    target_sources(test_${name} PRIVATE unit/worker_world.c)
endforeach()
set_tests_properties(unit_worker unit_worker_killed PROPERTIES COST 35 TIMEOUT 1200)
set_tests_properties(unit_worker_refused PROPERTIES LABELS redis) # needs a real one

msaas_unit_tests(render render render_parts)
foreach(name render render_parts)
    target_sources(test_${name} PRIVATE unit/render_scene.c)
endforeach()

msaas_unit_tests(api song_request api api_accounts api_again api_gone api_health api_no_page
                 api_page api_refusals owner sniff song_length waiting)
set_tests_properties(unit_api unit_api_accounts unit_api_again unit_api_gone unit_api_health
                     unit_api_no_page unit_api_page unit_api_refusals
                     PROPERTIES FIXTURES_REQUIRED exchanges ENVIRONMENT
                     E2E_EXCHANGES=${CMAKE_BINARY_DIR}/exchanges)
msaas_unit_tests(cmd naming inputs option encode precision job_options) # some through the options
target_include_directories(test_job_options PRIVATE ${CMAKE_SOURCE_DIR}/src/api)

# The kernels, also with vectors of 16 values on every processor: a table of the test alone.
add_library(kernels_wide OBJECT ${CMAKE_SOURCE_DIR}/src/tensor/kernels/table.c)
target_link_libraries(kernels_wide PRIVATE msaas_kernel_flags)
target_compile_definitions(kernels_wide PRIVATE MS_KERNELS=wide MS_LANES=16 MS_TILE_ROWS=12)
# Wider than the processor's vectors: gcc warns of calls between objects, of which there are none.
target_compile_options(kernels_wide PRIVATE -Wno-psabi)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    target_compile_options(kernels_wide PRIVATE -mavx2 -mfma)
endif()

msaas_unit_tests(tensor arena kernels operators)
target_sources(test_kernels PRIVATE unit/kernels_product.c $<TARGET_OBJECTS:kernels_wide>)
target_include_directories(test_kernels PRIVATE ${CMAKE_SOURCE_DIR}/src/tensor/kernels)
target_sources(test_operators PRIVATE unit/operators_errors.c) # our own against libtorch's
