msaas_unit_test(http_parse LINK msaas_http)
msaas_unit_test(router LINK msaas_http)
target_include_directories(test_http_parse PRIVATE ${CMAKE_SOURCE_DIR}/src/http)
target_include_directories(test_router PRIVATE ${CMAKE_SOURCE_DIR}/src/http)
