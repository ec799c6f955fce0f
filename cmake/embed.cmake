# msaas_embed(LIBRARY SYMBOL [FILE|FOLDER...]): a library with the files in it, as the list `const
# struct ms_embedded SYMBOL[]`. A folder stands for the files in it.
#
# The work is done at build time, by this same file run as a script.
if(NOT CMAKE_SCRIPT_MODE_FILE)
    set(MSAAS_EMBED_SCRIPT ${CMAKE_CURRENT_LIST_FILE})
    function(msaas_embed library symbol)
        set(output ${CMAKE_BINARY_DIR}/embedded/${symbol}.c)
        add_custom_command(
            OUTPUT ${output}
            COMMAND ${CMAKE_COMMAND} -D SYMBOL=${symbol} -D OUTPUT=${output} -D "FILES=${ARGN}"
                    -P ${MSAAS_EMBED_SCRIPT}
            DEPENDS ${ARGN} ${MSAAS_EMBED_SCRIPT}
            COMMENT "Embedding ${symbol}"
            VERBATIM)
        add_library(${library} STATIC ${output})
        target_link_libraries(${library} PRIVATE msaas_flags)
    endfunction()
    return()
endif()

set(arrays "")
set(list "")
set(index 0)
foreach(path IN LISTS FILES)
    if(IS_DIRECTORY ${path})
        file(GLOB path ${path}/*)
    endif()
    list(APPEND files ${path})
endforeach()
foreach(file IN LISTS files)
    file(READ ${file} hex HEX)
    string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
    get_filename_component(name ${file} NAME)
    string(APPEND arrays "static const unsigned char file_${index}[] = {${bytes}};\n")
    string(APPEND list "    {\"${name}\", file_${index}, sizeof file_${index}},\n")
    math(EXPR index "${index} + 1")
endforeach()
file(WRITE ${OUTPUT}
     "#include \"msaas/embedded.h\"\n\n"
     "${arrays}\nconst struct ms_embedded ${SYMBOL}[] = {\n${list}    {0},\n};\n")
