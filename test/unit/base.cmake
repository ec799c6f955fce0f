foreach(name json digest sys option url tasks metrics log)
    msaas_unit_test(${name} LINK msaas_base)
endforeach()
