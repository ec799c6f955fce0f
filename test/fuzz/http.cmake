# What strangers send to the HTTP server.
foreach(name http_request multipart song_request)
    msaas_fuzz_target(${name} LINK msaas_http)
    target_include_directories(replay_${name} PRIVATE ${CMAKE_SOURCE_DIR}/src/http)
    if(MSAAS_FUZZ)
        target_include_directories(fuzz_${name} PRIVATE ${CMAKE_SOURCE_DIR}/src/http)
    endif()
endforeach()
