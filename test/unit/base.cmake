foreach(name json digest sys)
    msaas_unit_test(${name} LINK msaas_base)
endforeach()
