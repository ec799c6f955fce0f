foreach(name http_parse router range multipart)
    msaas_unit_test(${name} LINK msaas_http)
    target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/src/http)
endforeach()
