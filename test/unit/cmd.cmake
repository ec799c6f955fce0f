foreach(name naming inputs)
    msaas_unit_test(${name} LINK msaas_cmd)
    target_include_directories(test_${name} PRIVATE ${CMAKE_SOURCE_DIR}/src/cmd)
endforeach()
