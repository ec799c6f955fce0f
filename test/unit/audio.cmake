msaas_unit_test(decode LINK msaas_audio)
msaas_unit_test(encode LINK msaas_audio)
