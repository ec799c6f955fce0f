foreach(name json digest sys option)
    msaas_unit_test(${name} LINK msaas_base)
endforeach()
