foreach(name json text digest base64 sys option precision url tasks thread metrics log)
    msaas_unit_test(${name} LINK msaas_base)
endforeach()
