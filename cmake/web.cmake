# The page (src/web): node builds it of packages that npm fetches. Sets MSAAS_WEB_FOLDER, the folder
# with the files that the binary carries; empty where the page is left out. The target `web` builds
# it.
set(MSAAS_WEB auto CACHE STRING "The page in the binary: on, off, or auto: where it can be built")
set_property(CACHE MSAAS_WEB PROPERTY STRINGS auto on off)
set(web ${CMAKE_SOURCE_DIR}/src/web)
set(modules ${web}/node_modules)

# Fetches the packages of the lock file, unless they are there; all build folders share them.
# *missing: why there is none, "" if all went well.
function(msaas_fetch_packages missing)
    file(SHA256 ${web}/package-lock.json wanted)
    set(stamp ${modules}/.msaas-lock)
    set(${missing} "" PARENT_SCOPE)
    if(EXISTS ${stamp})
        file(READ ${stamp} fetched)
        if(fetched STREQUAL wanted)
            return()
        endif()
    endif()
    execute_process(COMMAND ${MSAAS_NPM} ci --prefer-offline --loglevel=error
        WORKING_DIRECTORY ${web} RESULT_VARIABLE status OUTPUT_QUIET ERROR_VARIABLE said)
    if(status EQUAL 0)
        file(WRITE ${stamp} ${wanted})
    else()
        string(STRIP "${said}" said)
        string(REGEX REPLACE "\n.*" "" said "${said}")
        set(${missing} "npm cannot fetch its packages (${said})" PARENT_SCOPE)
    endif()
endfunction()

function(msaas_find_missing missing)
    find_program(MSAAS_NODE NAMES node nodejs)
    find_program(MSAAS_NPM npm)
    set(version "")
    if(MSAAS_NODE)
        execute_process(COMMAND ${MSAAS_NODE} --version OUTPUT_VARIABLE version ERROR_QUIET)
        string(REGEX REPLACE "[v\n]" "" version "${version}")
    endif()
    set(why "")
    if(version VERSION_LESS 18)
        set(why "there is no node from version 18 on")
    elseif(NOT MSAAS_NPM)
        set(why "there is no npm")
    else()
        msaas_fetch_packages(why)
    endif()
    set(${missing} "${why}" PARENT_SCOPE)
endfunction()

set(MSAAS_WEB_FOLDER "")
if(MSAAS_WEB STREQUAL off)
    message(STATUS "The page is left out: MSAAS_WEB is off")
    return()
endif()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${web}/package-lock.json)
msaas_find_missing(missing)
if(NOT missing STREQUAL "" AND MSAAS_WEB STREQUAL on)
    message(FATAL_ERROR "The page cannot be built: ${missing}; scripts/setup build")
elseif(NOT missing STREQUAL "")
    message(STATUS "The page is left out: ${missing}; scripts/setup build")
    return()
endif()

set(MSAAS_WEB_FOLDER ${CMAKE_BINARY_DIR}/page)
file(GLOB web_sources CONFIGURE_DEPENDS ${web}/*.* ${web}/*/*.ts ${web}/*/*.tsx ${web}/*/*.css)
add_custom_command(
    OUTPUT ${MSAAS_WEB_FOLDER}
    COMMAND ${MSAAS_NODE} ${web}/build.mjs ${MSAAS_WEB_FOLDER}
    DEPENDS ${web_sources}
    COMMENT "Building the page"
    VERBATIM)
add_custom_target(web DEPENDS ${MSAAS_WEB_FOLDER})
